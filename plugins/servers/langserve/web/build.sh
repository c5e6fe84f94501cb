#!/bin/sh
# Rebuilds static/editor.js and static/LICENSES.txt from the npm packages that package-lock.json pins.
set -eu
cd "$(dirname "$0")"
static=../xagent_server_langserve/static
npm ci --silent --ignore-scripts
node_modules/.bin/esbuild editor.js --bundle --minify --format=esm --target=es2022 --legal-comments=none \
    --log-level=warning --metafile=node_modules/meta.json --outfile=$static/editor.js
node licences.mjs node_modules/meta.json $static/LICENSES.txt

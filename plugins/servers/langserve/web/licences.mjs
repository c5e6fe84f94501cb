// Writes what the packages in the bundle want to be said: their copyright lines and the licence that all of them have.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const [metafile, target] = process.argv.slice(2);
const inputs = Object.keys(JSON.parse(readFileSync(metafile)).inputs);
const names = new Set(inputs.map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean));
const texts = new Map();
for (const name of [...names].sort()) {
  const { license, version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`));
  if (license !== "MIT") throw new Error(`${name} has the licence ${license}: look whether it may be shipped`);
  const file = readdirSync(`node_modules/${name}`).find((entry) => /^licen[cs]e/i.test(entry));
  const text = readFileSync(`node_modules/${name}/${file}`, "utf8").trim();
  texts.set(text, [...(texts.get(text) ?? []), `${name} ${version}`]);
}
const parts = [...texts].map(([text, packages]) => `${packages.join("\n")}\n\n${text}\n`);
const rule = `\n${"-".repeat(78)}\n\n`;
writeFileSync(target, `editor.js is made of these packages:\n${rule}${parts.join(rule)}`);

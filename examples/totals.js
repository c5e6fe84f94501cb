// Adds up sales.csv for the regions that standard input names, and writes totals.json.
import { readFile, writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

const wanted = (await text(process.stdin)).split(/\s+/).filter(Boolean);
const totals = Object.fromEntries(wanted.map((region) => [region, 0]));
for (const line of (await readFile("sales.csv", "utf8")).trim().split("\n").slice(1)) {
  const [region, , units, price] = line.split(",");
  if (region in totals) totals[region] += units * price;
}

for (const region of wanted) {
  totals[region] = Number(totals[region].toFixed(2));
  console.log(region.padEnd(8) + totals[region].toFixed(2).padStart(10));
}
await writeFile("totals.json", JSON.stringify(totals));

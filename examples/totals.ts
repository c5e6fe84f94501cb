// Adds up sales.csv for the regions that standard input names, and writes totals.json.
import { readFileSync, writeFileSync } from "node:fs";

enum Column {
  Region,
  Units = 2,
  Price = 3,
}

class Totals {
  private readonly sums = new Map<string, number>();

  constructor(private readonly wanted: readonly string[]) {
    for (const region of wanted) this.sums.set(region, 0);
  }

  add(line: string): void {
    const cells = line.split(",");
    const sum = this.sums.get(cells[Column.Region]);
    if (sum !== undefined) this.sums.set(cells[Column.Region], sum + Number(cells[Column.Units]) * Number(cells[Column.Price]));
  }

  print(): void {
    for (const region of this.wanted) console.log(region.padEnd(8) + this.sums.get(region)!.toFixed(2).padStart(10));
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries([...this.sums].map(([region, sum]) => [region, Number(sum.toFixed(2))]));
  }
}

const totals = new Totals(readFileSync(0, "utf8").split(/\s+/).filter(Boolean));
readFileSync("sales.csv", "utf8").trim().split("\n").slice(1).forEach((line) => totals.add(line));
totals.print();
writeFileSync("totals.json", JSON.stringify(totals));

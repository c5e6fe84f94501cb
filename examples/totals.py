"""Adds up sales.csv for the regions that standard input names, and writes totals.json."""

import csv
import json
import sys

wanted = sys.stdin.read().split()
totals = dict.fromkeys(wanted, 0.0)
with open("sales.csv", newline="") as file:
    for row in csv.DictReader(file):
        if row["region"] in totals:
            totals[row["region"]] += int(row["units"]) * float(row["price"])

for region, total in totals.items():
    print(f"{region:8}{total:10.2f}")
with open("totals.json", "w") as file:
    json.dump({region: round(total, 2) for region, total in totals.items()}, file)

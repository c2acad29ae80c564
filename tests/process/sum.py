"""Sums an export as its reader would: amounts by group, scope and window, from CSV or NDJSON."""
import csv
import json
import sys
from decimal import Decimal

sums = {}


def add(group, scope, window, amount):
    name = f"{group} {json.dumps(scope, sort_keys=True)} {window}"
    sums[name] = sums.get(name, Decimal(0)) + Decimal(amount)


with open(sys.argv[1], newline="", encoding="utf-8") as file:
    if sys.argv[1].endswith(".csv"):
        for row in csv.DictReader(file):
            if row["group"]:
                add(row["group"], json.loads(row["scope"]), row["window"], row["amount"])
    else:
        for line in file:
            for charge in json.loads(line, parse_float=Decimal)["charges"]:
                add(charge["groupId"], charge["scope"], charge["window"], charge["amount"])
print(json.dumps({name: str(total.normalize() + 0) for name, total in sums.items()}))

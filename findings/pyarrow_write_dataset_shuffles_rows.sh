#!/usr/bin/env bash
# pyarrow 26.0.1 (Python 3.11): a dataset of files that is written anew has its rows in another order each time.
#
# The source's files are read several at a time (fragment_readahead, 4 by default), and rows are written as they come.
# The documentation says that threads may change their order, but use_threads=False does not keep it either. What
# trains on the copy by a seeded order of rows gets other samples after each conversion, and no row is missing, so no
# count tells. preserve_order=True mends it.
#
# What it prints, of twelve copies of 30 files, read back by to_table, which keeps the order of the files:
#   by default: more than one order, not all copies have that of the source
#   use_threads=False: more than one order, not all copies have that of the source
#   preserve_order=True: one order, all copies have that of the source
#   all rows are there: yes
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

FILES, ROWS, COPIES = 30, 200, 12
SOURCE = tuple(range(FILES * ROWS))
Path("source").mkdir()
for number in range(FILES):
    rows = SOURCE[number * ROWS : (number + 1) * ROWS]
    pq.write_table(pa.table({"sample": rows}), f"source/{number:02}.parquet")

read = []
for how in ({}, {"use_threads": False}, {"preserve_order": True}):
    for copy in range(COPIES):
        target = f"copy-{len(read)}"
        ds.write_dataset(ds.dataset("source"), target, format="parquet", **how)
        read.append(tuple(ds.dataset(target).to_table()["sample"].to_pylist()))
    orders = read[-COPIES:]
    name = ", ".join(f"{key}={value}" for key, value in how.items()) or "by default"
    kept = "all" if set(orders) == {SOURCE} else "not all"
    number = "one order" if len(set(orders)) == 1 else "more than one order"
    print(f"{name}: {number}, {kept} copies have that of the source")
print("all rows are there:", "yes" if all(sorted(rows) == list(SOURCE) for rows in read) else "no")
PROGRAM
cmp - said <<'EXPECTED'
by default: more than one order, not all copies have that of the source
use_threads=False: more than one order, not all copies have that of the source
preserve_order=True: one order, all copies have that of the source
all rows are there: yes
EXPECTED

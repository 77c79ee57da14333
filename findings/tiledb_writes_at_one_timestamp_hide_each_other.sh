#!/usr/bin/env bash
# tiledb 0.36.1, numpy 2.4.6 (Python 3.11): of two writes at the same timestamp, the earlier one may stay, by chance.
#
# TileDB keeps each write as a fragment of its own, and a read takes each cell from the latest one. Fragments are
# sorted by their names, of which the timestamp is the first part and a random UUID the next: with timestamp=t given
# to open(), as to write a data set's versions under known times, the second write of a cell at t is seen in one run
# and not in the next, and a table that was corrected is the uncorrected one in some of the runs. All cells of a write
# go together, so that what is read looks whole. Nothing is said in either case. Writes without a timestamp come in
# the order in which they were made, also in quick succession. Give each write a timestamp of its own.
#
# What it prints: of 60 arrays written twice, in how many the second write is the one that is read; and of those
# written at one timestamp, in how many a second reading finds the same.
#   no timestamps: 60 of 60
#   timestamps 10 and 11: 60 of 60
#   timestamps 10 and 10: some, not all
#   read again: 60 of 60 the same
#   sparse arrays, timestamps 10 and 10: some, not all
#
# Exits with 0 as long as it is so; that chance decides 60 times alike is one in 2 to the 59th.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 tiledb==0.36.1

cd "$work"
"$work/venv/bin/python" -W ignore - <<'PROGRAM' | tee said
import tempfile

import numpy as np
import tiledb

cells = np.arange(10)


def written(stamps, sparse=False):
    name = tempfile.mkdtemp(dir=".") + "/array"
    domain = tiledb.Domain(tiledb.Dim("row", domain=(0, 9), tile=5, dtype=np.int64))
    tiledb.Array.create(name, tiledb.ArraySchema(domain, [tiledb.Attr("", dtype=np.int64)], sparse=sparse))
    for value, stamp in enumerate(stamps):
        with tiledb.open(name, "w", timestamp=stamp) as array:
            if sparse:
                array[cells] = np.full(10, value)
            else:
                array[:] = np.full(10, value)
    return name


def read(name):
    with tiledb.open(name) as array:
        found = array[:]
        values = set(np.asarray(found[""] if isinstance(found, dict) else found).tolist())
    (value,) = values
    return value


def tell(name, names):
    second = sum(read(name) == 1 for name in names)
    print(f"{name}: {'some, not all' if 0 < second < 60 else f'{second} of 60'}")


for name, stamps in (("no timestamps", (None, None)), ("timestamps 10 and 11", (10, 11))):
    tell(name, [written(stamps) for _ in range(60)])
names = [written((10, 10)) for _ in range(60)]
tell("timestamps 10 and 10", names)
print(f"read again: {sum(read(name) == read(name) for name in names)} of 60 the same")
tell("sparse arrays, timestamps 10 and 10", [written((10, 10), sparse=True) for _ in range(60)])
PROGRAM
cmp - said <<'EXPECTED'
no timestamps: 60 of 60
timestamps 10 and 11: 60 of 60
timestamps 10 and 10: some, not all
read again: 60 of 60 the same
sparse arrays, timestamps 10 and 10: some, not all
EXPECTED

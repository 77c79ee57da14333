#!/usr/bin/env bash
# MONAI 1.6.1, pandas 3.1.1 (torch 2.13.0, Python 3.11): the workers of a CSVIterableDataset take rows from each other.
#
# The dataset opens its file once, when it is made, and worker processes inherit the open file with one place in it for
# all of them (CSVIterableDataset.reset in monai/data/iterable_dataset.py). Each worker is to read the whole file and
# keep each second row; in fact each reads what the other has left, from the middle of a row. Rows are lost, the rest
# are others in each run, and some runs raise a ParserError of pandas. With one worker or none the first pass is whole,
# the second is empty or ends where the parent had read to, and nothing is raised. The documentation asks for reset()
# before each epoch; it does not reach persistent workers, and does nothing for two workers.
#
# What it prints: how many of 60000 rows two passes of a DataLoader bring.
#   no workers: 60000, 0
#   no workers, reset(): 60000, 60000
#   one worker: 60000, fewer
#   one worker, reset(): 60000, 60000
#   one persistent worker, reset(): 60000, 0
#   two workers, reset(): all rows in 0 of 5 runs
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 monai==1.6.1 pandas==3.1.1

cd "$work"
cat >program.py <<'PROGRAM'
import sys

from monai.data import CSVIterableDataset
from torch.utils.data import DataLoader

workers, persistent, reset = int(sys.argv[1]), "persistent" in sys.argv, "reset" in sys.argv
ROWS = {(row, 7 * row) for row in range(60000)}
dataset = CSVIterableDataset("rows.csv")
loader = DataLoader(
    dataset,
    batch_size=None,
    num_workers=workers,
    persistent_workers=persistent,
    multiprocessing_context="fork" if workers else None,
)
found = []
for _ in range(2):
    if reset:
        dataset.reset()
    try:
        found.append(len({(row["row"], row["value"]) for row in loader} & ROWS))
    except Exception as raised:
        if "ParserError" not in str(raised):
            raise
        found.append(0)
        break
if workers == 2:
    print("all" if found[0] == 60000 else "not all")
else:
    print(f"{found[0]}, {'fewer' if 0 < found[1] < 60000 else found[1]}")
PROGRAM
printf 'row,value\n' >rows.csv
seq 0 59999 | awk '{ print $1 "," 7 * $1 }' >>rows.csv
try() { "$work/venv/bin/python" -W ignore program.py "$@"; }
two() { for _ in 1 2 3 4 5; do try 2 reset; done | grep -cx all || true; }
{
    echo "no workers: $(try 0)"
    echo "no workers, reset(): $(try 0 reset)"
    echo "one worker: $(try 1)"
    echo "one worker, reset(): $(try 1 reset)"
    echo "one persistent worker, reset(): $(try 1 persistent reset)"
    echo "two workers, reset(): all rows in $(two) of 5 runs"
} | tee said
cmp - said <<'EXPECTED'
no workers: 60000, 0
no workers, reset(): 60000, 60000
one worker: 60000, fewer
one worker, reset(): 60000, 60000
one persistent worker, reset(): 60000, 0
two workers, reset(): all rows in 0 of 5 runs
EXPECTED

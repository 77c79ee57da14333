#!/usr/bin/env bash
# webdataset 1.0.2, numpy 2.4.6 (Python 3.11): detshuffle(seed=1) begins with the order of seed=0's second epoch.
#
# The generator of an epoch is seeded with the sum of seed and epoch (detshuffle.run in webdataset/filters.py). So runs
# with the seeds 0, 1 and 2, made to see how much depends on the order, share nearly all of their orders, one epoch
# later. Seeds that lie further apart than there are epochs do not.
#
# What it prints: the orders of four epochs, the same letter for the same order.
#   seed 0: A B C D
#   seed 1: B C D E
#   seed 2: C D E F
#   seed 1000: G H I J
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 webdataset==1.0.2

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import webdataset

letters = {}
for seed in (0, 1, 2, 1000):
    pipeline = webdataset.DataPipeline(lambda: iter(range(100)), webdataset.detshuffle(seed=seed))
    orders = [tuple(pipeline) for epoch in range(4)]
    print(f"seed {seed}:", *(letters.setdefault(order, chr(ord("A") + len(letters))) for order in orders))
PROGRAM
cmp - said <<'EXPECTED'
seed 0: A B C D
seed 1: B C D E
seed 2: C D E F
seed 1000: G H I J
EXPECTED

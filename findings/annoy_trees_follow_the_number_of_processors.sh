#!/usr/bin/env bash
# annoy 1.17.3 (Python 3.11; built from source): a seeded index is another one with more or fewer processors.
#
# set_seed() is there to repeat an index, and build(n_trees) takes n_jobs=-1 by default: as many threads as processors.
# Each thread makes a part of the trees by a generator of its own, from the seed and the thread's number: so the same
# seed over the same vectors finds other neighbours on another machine. With one number of threads it repeats, in
# another order of add_item() too. build(n_trees, n_jobs=1) makes it repeat everywhere.
#
# What it prints: whether the neighbours of 200 items are those that an index with one thread finds.
#   n_jobs=1: the same True, again True, items added in reverse True
#   n_jobs=2: the same False, again True, items added in reverse True
#   n_jobs=3: the same False, again True, items added in reverse True
#   n_jobs=8: the same False, again True, items added in reverse True
#   by default, as with as many threads as processors: True
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check annoy==1.17.3

cd "$work"
cat >program.py <<'PROGRAM'
import os
import random

from annoy import AnnoyIndex

given = random.Random(0)
vectors = [[given.gauss(0, 1) for _ in range(8)] for _ in range(1000)]


def neighbours(order=1, **options):
    index = AnnoyIndex(8, "angular")
    index.set_seed(3)
    for item in list(range(1000))[::order]:
        index.add_item(item, vectors[item])
    index.build(8, **options)
    return [index.get_nns_by_item(item, 10, search_k=50) for item in range(200)]


one = neighbours(n_jobs=1)
for jobs in (1, 2, 3, 8):
    found = neighbours(n_jobs=jobs)
    again, back = (neighbours(order, n_jobs=jobs) == found for order in (1, -1))
    print(f"n_jobs={jobs}: the same {found == one}, again {again}, items added in reverse {back}")

processors = {os.cpu_count(), len(os.sched_getaffinity(0))}
found = neighbours() in [neighbours(n_jobs=one) for one in processors]
print(f"by default, as with as many threads as processors: {found}")
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
n_jobs=1: the same True, again True, items added in reverse True
n_jobs=2: the same False, again True, items added in reverse True
n_jobs=3: the same False, again True, items added in reverse True
n_jobs=8: the same False, again True, items added in reverse True
by default, as with as many threads as processors: True
EXPECTED

#!/usr/bin/env bash
# datasets 5.2.0, dill 0.4.1 (Python 3.11): a function with {"cat", "dog"} in it is mapped anew in each process.
#
# The cache of Dataset.map is found by a hash of the function's pickle. Python keeps a set of constants behind "in" as a
# frozenset in the function's code, and a frozenset is pickled in an order that follows the hash seed of the process
# (_save_set in datasets/utils/_dill.py sorts, but is registered for set alone). So each rank of a job and each restart
# computes again, and gets other data than the run before if the function draws. A tuple, a set in a global, or one
# PYTHONHASHSEED mends it.
#
# What it prints: how many results lie in the cache after four processes mapped the same data by each function.
#   four hash seeds: a set behind "in" 4, a frozenset in a global 4, a set in a global 1, a tuple behind "in" 1
#   one hash seed: a set behind "in" 1, a frozenset in a global 1, a set in a global 1, a tuple behind "in" 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 dill==0.4.1

cd "$work"
export HF_HOME="$work/hf" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
cat >program.py <<'PROGRAM'
import sys
from pathlib import Path

from datasets import Dataset, load_from_disk

PETS = {"cat", "dog", "fish", "bird", "horse", "mouse"}
FROZEN_PETS = frozenset(PETS)


def by_set(row):
    return {"pet": row["label"] in {"cat", "dog", "fish", "bird", "horse", "mouse"}}


def by_global_frozenset(row):
    return {"pet": row["label"] in FROZEN_PETS}


def by_global_set(row):
    return {"pet": row["label"] in PETS}


def by_tuple(row):
    return {"pet": row["label"] in ("cat", "dog", "fish", "bird", "horse", "mouse")}


functions = {
    'a set behind "in"': by_set,
    "a frozenset in a global": by_global_frozenset,
    "a set in a global": by_global_set,
    'a tuple behind "in"': by_tuple,
}
found = []
for name, function in functions.items():
    folder = Path(sys.argv[1], function.__name__)
    if not folder.exists():
        Dataset.from_dict({"label": ["cat", "tree", "dog", "stone"]}).save_to_disk(folder)
    load_from_disk(folder).map(function)
    found.append(f"{name} {len(list(folder.glob('cache-*.arrow')))}")
print(", ".join(found))
PROGRAM

after_four() {
    local folder=$1 seed
    shift
    for seed; do
        PYTHONHASHSEED=$seed "$work/venv/bin/python" program.py "$folder"
    done | tail -n 1
}

{
    echo "four hash seeds: $(after_four many 1 2 3 4)"
    echo "one hash seed: $(after_four one 1 1 1 1)"
} | tee said
cmp - said <<'EXPECTED'
four hash seeds: a set behind "in" 4, a frozenset in a global 4, a set in a global 1, a tuple behind "in" 1
one hash seed: a set behind "in" 1, a frozenset in a global 1, a set in a global 1, a tuple behind "in" 1
EXPECTED

#!/usr/bin/env bash
# joblib 1.6.0 (Python 3.11): equal settings have other hashes, by how often one tuple object stands in them.
#
# joblib.hash is that of a pickle, which writes an object that it has met before as a reference. Only strings and bytes
# are spared that (Hasher.memoize in joblib/hashing.py). So {"kernel": (3, 5), "stride": (3, 5)} written in one
# function, where Python makes one tuple of the two, and the same settings put together from two places, or read
# from a file, are computed apart by joblib.Memory and get two names where the hash names a run.
# Order within a set is taken out; within a frozenset it is not, so there the hash seed of the process decides.
#
# What it prints:
#   one tuple twice, and two equal tuples: equal True, hash equal False
#   one list twice, and two equal lists: equal True, hash equal False
#   one string twice, and two equal strings: equal True, hash equal True
#   joblib.Memory computed 2 times for 3 equal settings
#   hashes in four processes: of a set 1, of a frozenset 4
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check joblib==1.6.0

cd "$work"
cat >program.py <<'PROGRAM'
import json

import joblib


def one():
    return {"kernel": (3, 5), "stride": (3, 5)}


def two(text='{"kernel": [3, 5], "stride": [3, 5]}', kind=tuple):
    return {key: kind(value) for key, value in json.loads(text).items()}


def shared(value):
    return {"kernel": value, "stride": value}


def said(name, first, second):
    print(f"{name}: equal {first == second}, hash equal {joblib.hash(first) == joblib.hash(second)}")


said("one tuple twice, and two equal tuples", one(), two())
said("one list twice, and two equal lists", shared([3, 5]), two(kind=list))
said("one string twice, and two equal strings", shared("same"), two('{"kernel": "same", "stride": "same"}', str))

computed = []
memory = joblib.Memory("cache", verbose=0)


@memory.cache
def features(settings):
    computed.append(settings)
    return settings["kernel"]


for settings in (one(), two(), one()):
    features(settings)
print(f"joblib.Memory computed {len(computed)} times for 3 equal settings")
PROGRAM

hashes() {
    local made="$1(['cat', 'dog', 'fish', 'bird', 'horse', 'mouse'])" seed
    for seed in 1 2 3 4; do
        PYTHONHASHSEED=$seed "$work/venv/bin/python" -c "import joblib; print(joblib.hash($made))"
    done | sort -u | wc -l | tr -d ' '
}

{
    "$work/venv/bin/python" program.py
    echo "hashes in four processes: of a set $(hashes set), of a frozenset $(hashes frozenset)"
} | tee said
cmp - said <<'EXPECTED'
one tuple twice, and two equal tuples: equal True, hash equal False
one list twice, and two equal lists: equal True, hash equal False
one string twice, and two equal strings: equal True, hash equal True
joblib.Memory computed 2 times for 3 equal settings
hashes in four processes: of a set 1, of a frozenset 4
EXPECTED

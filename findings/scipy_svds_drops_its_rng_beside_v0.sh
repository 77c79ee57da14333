#!/usr/bin/env bash
# scipy 1.17.1, numpy 2.4.6 (Python 3.11): svds(..., v0=..., rng=0) may return other singular vectors in each call.
#
# ARPACK goes on from a random vector where the one that it was given leads no further: where v0 lies in a space that
# the matrix maps into itself, as a vector of ones does for columns that mean alike. eigsh draws that vector from its
# rng. svds has an rng, too, but asks it only for v0; where v0 is given, it calls eigsh without one, which then draws
# from the operating system. So the two arguments by which people make it repeat, together, make it not repeat.
# Seen with the one-hot encoding of thirty rows in six categories of five rows each, and v0 = ones.
#
# What it prints: how many different results six equal calls gave, for each way to call.
#   svds rng 1, svds v0 more, svds v0 and rng more
#   eigsh rng 1, eigsh v0 more, eigsh v0 and rng 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import numpy as np
from scipy.sparse.linalg import eigsh, svds

one_hot = np.kron(np.eye(6), np.ones((5, 1)))
start = np.ones(6)


def results(call):
    found = len({call().tobytes() for _ in range(6)})
    return found if found == 1 else "more"


ways = {"rng": {"rng": 0}, "v0": {"v0": start}, "v0 and rng": {"v0": start, "rng": 0}}
for name, call in {
    "svds": lambda **how: svds(one_hot, 3, **how)[0],
    "eigsh": lambda **how: eigsh(one_hot.T @ one_hot, 3, **how)[1],
}.items():
    print(", ".join(f"{name} {way} {results(lambda how=how: call(**how))}" for way, how in ways.items()))
PROGRAM
cmp - said <<'EXPECTED'
svds rng 1, svds v0 more, svds v0 and rng more
eigsh rng 1, eigsh v0 more, eigsh v0 and rng 1
EXPECTED

#!/usr/bin/env bash
# numba 0.68.1, numpy 2.4.6 (Python 3.11, Linux): a seed given to compiled code is gone in a forked process.
#
# numpy.random in an @njit function has a generator of numba's own, which only a seed in an @njit function reaches.
# Where numba finds itself in another process than the one that was seeded, it seeds this generator anew from the system,
# so that no two workers draw alike. A seed that was set before the workers were forked is then lost without a word, and
# each run draws other numbers; numpy's own generator goes on from it. Seed in each worker, from its number.
#
# What it prints, of four processes that were forked right after seeding, and of the process itself:
#   numpy: 1 number in four children, the parent's
#   numba: 4 numbers in four children, not the parent's
#   numba, seeded in the child: 1 number in four children, the parent's
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 numba==0.68.1

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import os

import numba
import numpy as np


@numba.njit
def seed_numba():
    np.random.seed(1)


@numba.njit
def by_numba():
    return np.random.rand()


def both():
    seed_numba()
    return by_numba()


def in_a_child(draw):
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, repr(draw()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return float(os.read(read, 100))


def said(seed, draw):
    seed()
    drawn = {in_a_child(draw) for _ in range(4)}
    numbers = "1 number" if len(drawn) == 1 else f"{len(drawn)} numbers"
    return f"{numbers} in four children, {'' if draw() in drawn else 'not '}the parent's"


print("numpy:", said(lambda: np.random.seed(1), np.random.rand))
print("numba:", said(seed_numba, by_numba))
print("numba, seeded in the child:", said(seed_numba, both))
PROGRAM
cmp - said <<'EXPECTED'
numpy: 1 number in four children, the parent's
numba: 4 numbers in four children, not the parent's
numba, seeded in the child: 1 number in four children, the parent's
EXPECTED

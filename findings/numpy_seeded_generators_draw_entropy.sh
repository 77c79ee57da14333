#!/usr/bin/env bash
# numpy 2.4.6 (Python 3.11): some generators that have a seed ask the operating system for entropy, and throw it away.
#
# RandomState(5), Philox(key=5), and whatever unpickles or copies a generator first make one without a seed, which draws
# 128 bits of entropy for its SeedSequence, and then put the state in that was asked for. The numbers are those of the
# seed. But whoever watches for unseeded randomness at the place where numpy asks for it (numpy.random.bit_generator's
# randbits) sees an alarm for each seeded RandomState, of which scikit-learn makes one in every call with random_state=0,
# and for each generator that a worker process unpickles. default_rng(5), MT19937(5) and Philox(5) ask for nothing.
#
# What it prints: how often each of them asks.
#   default_rng(5) 0, MT19937(5) 0, Philox(5) 0, RandomState(5) 1, Philox(key=5) 1, copied 1, unpickled 1
#   sklearn's check_random_state(0) 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scikit-learn==1.9.1

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import copy
import pickle

import numpy as np
from numpy.random import bit_generator
from sklearn.utils import check_random_state

original, asked = bit_generator.randbits, []


def counting(bits):
    asked.append(bits)
    return original(bits)


def times(make):
    asked.clear()
    make()
    return len(asked)


bit_generator.randbits = counting
generator = np.random.default_rng(5)
found = {
    "default_rng(5)": lambda: np.random.default_rng(5),
    "MT19937(5)": lambda: np.random.MT19937(5),
    "Philox(5)": lambda: np.random.Philox(5),
    "RandomState(5)": lambda: np.random.RandomState(5),
    "Philox(key=5)": lambda: np.random.Philox(key=5),
    "copied": lambda: copy.deepcopy(generator),
    "unpickled": lambda: pickle.loads(pickle.dumps(generator)),
}
print(", ".join(f"{name} {times(make)}" for name, make in found.items()))
print("sklearn's check_random_state(0)", times(lambda: check_random_state(0)))
PROGRAM
cmp - said <<'EXPECTED'
default_rng(5) 0, MT19937(5) 0, Philox(5) 0, RandomState(5) 1, Philox(key=5) 1, copied 1, unpickled 1
sklearn's check_random_state(0) 1
EXPECTED

#!/usr/bin/env bash
# scipy 1.17.1 and numpy 2.4.6 (Python 3.11): a quasi-random engine takes a Generator only if that can spawn others.
#
# A counter-based bit generator is keyed directly, Philox(key=...), where every sample has a key of its own (numpy's page on
# parallel generation shows it). Such a Generator draws like any other, but has no SeedSequence to spawn from. The engines
# of scipy.stats.qmc spawn one when they are made, and fail with an AttributeError about None, which names neither the
# generator nor what it lacks; numpy's own Generator.spawn() says so. rvs() of a distribution takes it.
#
# What it prints:
#   Philox(1): a point of Sobol's, a point of LatinHypercube's, rvs
#   Philox(key=1): AttributeError: 'NoneType' object has no attribute 'spawn', twice; rvs
#   numpy of it: TypeError: The underlying SeedSequence does not implement spawning.
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check scipy==1.17.1 numpy==2.4.6

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM'
import sys

import numpy as np
from scipy import stats
from scipy.stats import qmc

MISSING = "AttributeError: 'NoneType' object has no attribute 'spawn'"


def point(engine, generator):
    try:
        return f"a point of {engine.__name__}'s" * (engine(2, rng=generator).random(1).shape == (1, 2))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


found = []
for name, bits in (("Philox(1)", np.random.Philox(1)), ("Philox(key=1)", np.random.Philox(key=1))):
    generator = np.random.Generator(bits)
    found.append([point(qmc.Sobol, generator), point(qmc.LatinHypercube, generator)])
    print(f"{name}: {found[-1]}, rvs {stats.norm.rvs(random_state=generator):.3f}")
try:
    generator.spawn(1)
    said = "nothing"
except TypeError as error:
    said = str(error)
print("numpy of it: TypeError:", said)
expected = [["a point of Sobol's", "a point of LatinHypercube's"], [MISSING, MISSING]]
sys.exit(found != expected or "does not implement spawning" not in said)
PROGRAM

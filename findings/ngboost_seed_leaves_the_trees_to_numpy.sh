#!/usr/bin/env bash
# ngboost 0.5.11, scikit-learn 1.9.1, numpy 2.4.6 (Python 3.11): equal models with equal random_state predict otherwise.
#
# NGBRegressor(random_state=1) seeds what NGBoost itself draws, the minibatches and the columns. Its trees are clones of
# one DecisionTreeRegressor with random_state=None (default_tree_learner in learners.py), and fit_base() seeds none:
# each draws from numpy's global generator to break ties between splits that are equally good, which there are wherever
# two features split the rows alike, as in small minibatches. So a model follows what was drawn from numpy before,
# another model's fit as well, and moves that generator. np.random.seed() before each fit, or
# Base=DecisionTreeRegressor(..., random_state=0), makes it repeat. The second fit of one model draws other minibatches
# besides.
#
# What it prints: how many predictions five equal models, each with random_state=1, give for the same rows.
#   as they come: more than 1; numpy's global generator moved: True
#   np.random.seed(0) before each: 1
#   Base with random_state=0: 1; numpy's global generator moved: False
#   one model with such a Base, fitted twice: 2
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scikit-learn==1.9.1 ngboost==0.5.11

cd "$work"
cat >program.py <<'PROGRAM'
import numpy as np
from ngboost import NGBRegressor
from sklearn.base import clone
from sklearn.tree import DecisionTreeRegressor

given = np.random.default_rng(0)
rows = given.normal(size=(200, 6))
target = rows[:, 0] + given.normal(size=200) * 0.3
seeded = DecisionTreeRegressor(max_depth=3, random_state=0)


def model(**options):
    return NGBRegressor(n_estimators=30, minibatch_frac=0.1, random_state=1, verbose=False, **options)


def predictions(models, before=lambda: None):
    found = []
    for one in models:
        before()
        found.append(one.fit(rows, target).predict(rows).round(6))
    return len({one.tobytes() for one in found})


def moved(run):
    before = np.random.get_state()
    found = run()
    after = np.random.get_state()
    return found, not (np.array_equal(before[1], after[1]) and before[2:] == after[2:])


found, drew = moved(lambda: predictions(model() for _ in range(5)))
print(f"as they come: {'more than 1' if found > 1 else found}; numpy's global generator moved: {drew}")
print(f"np.random.seed(0) before each: {predictions((model() for _ in range(5)), lambda: np.random.seed(0))}")
found, drew = moved(lambda: predictions(model(Base=clone(seeded)) for _ in range(5)))
print(f"Base with random_state=0: {found}; numpy's global generator moved: {drew}")
print(f"one model with such a Base, fitted twice: {predictions([model(Base=clone(seeded))] * 2)}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
as they come: more than 1; numpy's global generator moved: True
np.random.seed(0) before each: 1
Base with random_state=0: 1; numpy's global generator moved: False
one model with such a Base, fitted twice: 2
EXPECTED

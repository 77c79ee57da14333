#!/usr/bin/env bash
# lightgbm 4.7.0 (numpy 2.4.6, Python 3.11): a training that goes on by init_model draws the rows of its first rounds again.
#
# Bagging and the choice of features start from their seeds in each call of train(), whatever the model that is gone on
# with has been through. So a training in eight parts of a hundred rounds, to be able to stop, sees a hundred bags eight
# times, where one in one part sees eight hundred, and its trees are others. The documentation of init_model speaks of
# continued training. Another bagging_seed in each part gives new rows, though not those of the training in one part.
#
# What it prints: which rows each of eight rounds drew, the same letter for the same rows.
#   in one part: ABCDEFGH
#   in two parts: ABCDABCD
#   in two parts, with another bagging_seed in the second: new rows in the second
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 lightgbm==4.7.0

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import string

import lightgbm as lgb
import numpy as np

rng = np.random.default_rng(0)
rows = rng.normal(size=(1000, 5))
target, weight = rows[:, 0] + rng.normal(size=1000), rng.random(1000)
settings = {"bagging_fraction": 0.5, "bagging_freq": 1, "seed": 1, "num_leaves": 8, "num_threads": 2, "verbose": -1}


def train(rounds, before=None, **more):
    data = lgb.Dataset(rows, target, weight=weight)
    return lgb.train(settings | more, data, rounds, init_model=before)


def drawn_by(model):
    # weights of their own make the number and the weight of the rows in a tree's root a name for what was drawn
    roots = (tree["tree_structure"] for tree in model.dump_model()["tree_info"])
    return [(root["internal_count"], root["internal_weight"]) for root in roots]


whole = drawn_by(train(8))
in_two = drawn_by(train(4, train(4)))
others = drawn_by(train(4, train(4), bagging_seed=5))
letters = dict(zip(dict.fromkeys(whole + in_two), string.ascii_uppercase, strict=False))
print("in one part: " + "".join(letters[key] for key in whole))
print("in two parts: " + "".join(letters[key] for key in in_two))
new = others[:4] == whole[:4] and not set(others[4:]) & set(whole)
print(f"in two parts, with another bagging_seed in the second: {'new rows in the second' if new else others}")
PROGRAM
cmp - said <<'EXPECTED'
in one part: ABCDEFGH
in two parts: ABCDABCD
in two parts, with another bagging_seed in the second: new rows in the second
EXPECTED

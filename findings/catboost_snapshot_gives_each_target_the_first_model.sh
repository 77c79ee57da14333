#!/usr/bin/env bash
# catboost 1.2.10, numpy 2.4.6 (Python 3.11): with save_snapshot a second target gets the model of the first.
#
# fit(save_snapshot=True) goes on from a snapshot that lies in train_dir, and by default both names are always the same:
# catboost_info/experiment.cbsnapshot. Whether the snapshot belongs to this training is told by the parameters and by a
# checksum of the quantized features ("Current learn and test datasets differ from the datasets used for snapshot"); the
# labels and the weights are in neither. So a loop over the targets of one table trains once: each later fit() finds all
# iterations done, and returns the first target's model without a word. A snapshot of an interrupted training is
# finished on the corrected labels, or with the new weights: its first trees are for the old ones. learning_rate may
# differ too; another seed, depth, row, value of a feature or order of the rows raises. Give each training a
# snapshot_file of its own.
#
# What it prints: whether the predictions for three unrelated targets follow these, without and with save_snapshot; and
# what 15 iterations followed by 30 in all give where the second has something else.
#   without: follows follows follows; the second and the third model are the first: False False
#   with save_snapshot: follows does not does not; the second and the third model are the first: True True
#   other labels: goes on, the model of a training with them from the start False
#   other weights: goes on, the model of a training with them from the start False
#   other learning_rate: goes on, the model of a training with them from the start False
#   nothing else: goes on, the model of a training with them from the start True
#   other order of the rows: CatBoostError
#   other random_seed: CatBoostError
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 catboost==1.2.10

cd "$work"
cat >program.py <<'PROGRAM'
import shutil

import numpy as np
from catboost import CatBoostError, CatBoostRegressor, Pool

given = np.random.default_rng(0)
features = given.normal(size=(2000, 3))
targets = [features[:, column] + given.normal(size=2000) * 0.1 for column in range(3)]


def loop(**options):
    shutil.rmtree("catboost_info", ignore_errors=True)
    found = []
    for target in targets:
        model = CatBoostRegressor(iterations=50, random_seed=1, thread_count=1, verbose=0)
        found.append(model.fit(features, target, **options).predict(features))
    near = (np.corrcoef(one, target)[0, 1] for one, target in zip(found, targets, strict=True))
    said = " ".join("follows" if value > 0.9 else "does not" if abs(value) < 0.2 else f"{value:.2f}" for value in near)
    same = " ".join(str(np.array_equal(one, found[0])) for one in found[1:])
    return f"{said}; the second and the third model are the first: {same}"


print(f"without: {loop()}")
print(f"with save_snapshot: {loop(save_snapshot=True)}")


def fit(iterations, pool, options, **snapshot):
    kept = {"learning_rate": 0.1, "random_seed": 1, "thread_count": 1, "verbose": 0} | options
    return CatBoostRegressor(iterations=iterations, **kept).fit(pool, **snapshot)


pool = Pool(features, targets[0])
for name, second, options in (
    ("other labels", Pool(features, -targets[0]), {}),
    ("other weights", Pool(features, targets[0], weight=given.random(2000)), {}),
    ("other learning_rate", pool, {"learning_rate": 0.3}),
    ("nothing else", pool, {}),
    ("other order of the rows", Pool(features[::-1], targets[0][::-1]), {}),
    ("other random_seed", pool, {"random_seed": 2}),
):
    shutil.rmtree("catboost_info", ignore_errors=True)
    fit(15, pool, {}, save_snapshot=True, snapshot_interval=0)
    try:
        went_on = fit(30, second, options, save_snapshot=True).predict(features)
    except CatBoostError as error:
        print(f"{name}: {type(error).__name__}")
        continue
    same = np.array_equal(went_on, fit(30, second, options).predict(features))
    print(f"{name}: goes on, the model of a training with them from the start {same}")
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
without: follows follows follows; the second and the third model are the first: False False
with save_snapshot: follows does not does not; the second and the third model are the first: True True
other labels: goes on, the model of a training with them from the start False
other weights: goes on, the model of a training with them from the start False
other learning_rate: goes on, the model of a training with them from the start False
nothing else: goes on, the model of a training with them from the start True
other order of the rows: CatBoostError
other random_seed: CatBoostError
EXPECTED

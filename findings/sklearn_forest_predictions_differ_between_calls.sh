#!/usr/bin/env bash
# scikit-learn 1.9.1, numpy 2.4.6 (Python 3.11): a fitted forest with n_jobs=2 predicts other last bits each time.
#
# Nothing is random after fit, and random_state=0 was given. But the trees' predictions are added to one sum behind a
# lock (_accumulate_prediction in sklearn/ensemble/_forest.py), in the order in which the threads come to it. So targets
# for a student, or features that a forest makes, differ from call to call; a threshold may then fall otherwise.
# set_params(n_jobs=1) before predicting mends it.
#
# What it prints: how many different results twelve equal calls gave.
#   n_jobs=2: regressor more, classifier more, extra trees more
#   the same forests with n_jobs=1: regressor 1, classifier 1, extra trees 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scikit-learn==1.9.1

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor

rng = np.random.default_rng(0)
x = rng.normal(size=(3000, 8))
y = x[:, 0] * x[:, 1] + rng.normal(size=3000)
forests = {
    "regressor": RandomForestRegressor(random_state=0, n_jobs=2).fit(x, y),
    "classifier": RandomForestClassifier(random_state=0, n_jobs=2, max_depth=6).fit(x, y > 0),
    "extra trees": ExtraTreesRegressor(random_state=0, n_jobs=2, max_depth=6).fit(x, y),
}


def results(forest):
    predict = getattr(forest, "predict_proba", forest.predict)
    found = len({predict(x).tobytes() for _ in range(12)})
    return found if found == 1 else "more"


print("n_jobs=2: " + ", ".join(f"{name} {results(forest)}" for name, forest in forests.items()))
single = {name: forest.set_params(n_jobs=1) for name, forest in forests.items()}
print("the same forests with n_jobs=1: " + ", ".join(f"{name} {results(forest)}" for name, forest in single.items()))
PROGRAM
cmp - said <<'EXPECTED'
n_jobs=2: regressor more, classifier more, extra trees more
the same forests with n_jobs=1: regressor 1, classifier 1, extra trees 1
EXPECTED

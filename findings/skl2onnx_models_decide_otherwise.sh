#!/usr/bin/env bash
# skl2onnx 1.20.0, onnx 1.23.2, onnxruntime 1.32.0, scikit-learn 1.9.1, numpy 2.4.6 (Python 3.11): a converted model
# decides otherwise, where its settings or its data are not the common ones.
#
# Trees and forests learn on which side a missing value goes; the converted ones send all to one side (issue 1253 of
# sklearn-onnx), and treelite, which reads the same forests, does not. OrdinalEncoder with max_categories takes the
# infrequent categories of the first column for those of the second one. SGDClassifier with loss="modified_huber"
# decides by its probabilities, which tie in many rows, and scikit-learn by the distances. Normalizer("max") divides by
# the largest number and not by the largest absolute one, PowerTransformer makes a number of a missing value, and
# SimpleImputer leaves the columns of add_indicator=True out. to_onnx() neither raises nor warns, while it does refuse
# other settings by name; for these data without missing values, and for positive numbers, the results are equal.
# Compare a converted model with the first one on rows like the real ones, missing values and negative numbers among
# them.
#
# What it prints: how the results compare to scikit-learn's, for rows that the model was fitted on.
#   RandomForestClassifier, missing values: over a tenth differ; rows without equal; treelite equal
#   DecisionTreeRegressor, missing values: over a tenth differ
#   OrdinalEncoder(max_categories=3): first column equal, second over a tenth differ
#   SGDClassifier(loss=modified_huber): over a tenth differ
#   SGDClassifier(loss=log_loss): equal
#   Normalizer(max): over a tenth differ; positive numbers equal
#   PowerTransformer, are missing values missing: True, once converted False; rows without equal
#   SimpleImputer(add_indicator=True): 4 columns for 8
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 skl2onnx==1.20.0 treelite==4.8.1

cd "$work"
cat >program.py <<'PROGRAM'
import warnings

import numpy as np
import onnxruntime
import treelite
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import Normalizer, OrdinalEncoder, PowerTransformer
from sklearn.tree import DecisionTreeRegressor

onnxruntime.set_default_logger_severity(4)
warnings.simplefilter("error", UserWarning)  # a warning of the conversion would end this
draws = np.random.default_rng(0)
full = draws.normal(size=(400, 4)).astype(np.float32)
holes = np.where(draws.random(full.shape) < 0.2, np.float32("nan"), full)
whole = ~np.isnan(holes).any(1)
classes = (full[:, 0] + full[:, 1] * full[:, 2] > 0).astype(int)


def converted(model, rows):
    session = onnxruntime.InferenceSession(to_onnx(model, rows[:1]).SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: rows})[0]


def told(got, due):
    if got.shape != due.shape:
        return f"{got.shape[1]} columns for {due.shape[1]}"
    apart = np.mean(~np.isclose(got.ravel(), due.ravel(), atol=1e-3, equal_nan=True))
    return "equal" if apart == 0 else "over a tenth differ" if apart > 0.1 else "a few differ"


forest = RandomForestClassifier(10, random_state=0).fit(holes, classes)
got, due = converted(forest, holes), forest.predict(holes)
read = treelite.gtil.predict(treelite.sklearn.import_model(forest), holes).squeeze().argmax(1)
said = f"rows without {told(got[whole], due[whole])}; treelite {told(read, due)}"
print(f"RandomForestClassifier, missing values: {told(got, due)}; {said}")

tree = DecisionTreeRegressor(random_state=0).fit(holes, full[:, 0])
print(f"DecisionTreeRegressor, missing values: {told(converted(tree, holes).ravel(), tree.predict(holes))}")

often = [90, 90, 90, 80, 50]
codes = np.stack([np.repeat(range(5), often), np.repeat(range(5), often[::-1])], 1)
encoder = OrdinalEncoder(max_categories=3).fit(codes)
got, due = converted(encoder, codes), encoder.transform(codes)
said = f"first column {told(got[:, 0], due[:, 0])}, second {told(got[:, 1], due[:, 1])}"
print(f"OrdinalEncoder(max_categories=3): {said}")

for loss in ("modified_huber", "log_loss"):
    linear = SGDClassifier(loss=loss, random_state=0).fit(full, draws.integers(0, 3, 400))
    print(f"SGDClassifier(loss={loss}): {told(converted(linear, full), linear.predict(full))}")

norm = Normalizer("max").fit(full)
positive = np.abs(full)
said = [told(converted(norm, rows), norm.transform(rows)) for rows in (full, positive)]
print(f"Normalizer(max): {said[0]}; positive numbers {said[1]}")

power = PowerTransformer().fit(holes)
got, due = converted(power, holes), power.transform(holes)
said = f"{np.isnan(due).any()}, once converted {np.isnan(got).any()}; rows without {told(got[whole], due[whole])}"
print(f"PowerTransformer, are missing values missing: {said}")

imputer = SimpleImputer(add_indicator=True).fit(holes)
print(f"SimpleImputer(add_indicator=True): {told(converted(imputer, holes), imputer.transform(holes))}")
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
RandomForestClassifier, missing values: over a tenth differ; rows without equal; treelite equal
DecisionTreeRegressor, missing values: over a tenth differ
OrdinalEncoder(max_categories=3): first column equal, second over a tenth differ
SGDClassifier(loss=modified_huber): over a tenth differ
SGDClassifier(loss=log_loss): equal
Normalizer(max): over a tenth differ; positive numbers equal
PowerTransformer, are missing values missing: True, once converted False; rows without equal
SimpleImputer(add_indicator=True): 4 columns for 8
EXPECTED

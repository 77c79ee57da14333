#!/usr/bin/env bash
# mlflow-skinny 3.17.2 (Python 3.11): starting a run without a name draws from Python's global generator.
#
# `mlflow.start_run()` makes a name such as "overjoyed-slug-911" by random.choice and random.randint. A training that
# starts its run after seeding draws other numbers than one that does not track, and two trackings of one seed have one
# name. With run_name= it draws nothing.
#
# What it prints:
#   without a name: drawn from
#   with a name: not drawn from
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check mlflow-skinny==3.17.2

cd "$work"
cat > program.py <<'PROGRAM'
import random
import sys

import mlflow

mlflow.set_tracking_uri("file:runs")
moved = []
for name in (None, "named"):
    random.seed(0)
    before = random.getstate()
    with mlflow.start_run(run_name=name):
        pass
    moved.append(random.getstate() != before)
    print("with a name:" if name else "without a name:", "drawn from" if moved[-1] else "not drawn from")
sys.exit(moved != [True, False])
PROGRAM
MLFLOW_ALLOW_FILE_STORE=true "$work/venv/bin/python" program.py

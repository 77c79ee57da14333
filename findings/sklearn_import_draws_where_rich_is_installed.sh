#!/usr/bin/env bash
# scikit-learn 1.9.1 and rich 15.0.0 (Python 3.11): importing scikit-learn draws from Python's global generator, but only
# where rich is installed.
#
# sklearn.callback imports rich for its progress bars if it is there, and rich.style counts its links from
# random.getrandbits(24) when it is imported. So a script that seeds `random` and then imports an estimator draws other
# numbers on a machine that has rich, for whatever reason, than on one that has not. The seed is the same, the versions of
# what the script imports are the same, and no progress bar is shown.
#
# What it prints:
#   without rich: 0.8444218515250481, not drawn from
#   with rich: 0.3852453064766108, drawn from
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6

cd "$work"
cat > program.py <<'PROGRAM'
import random
import sys

random.seed(0)
before = random.getstate()
import sklearn.linear_model

moved = random.getstate() != before
print(f"{sys.argv[1]} rich: {random.random()}, {'drawn from' if moved else 'not drawn from'}")
sys.exit(moved != (sys.argv[1] == "with"))
PROGRAM
"$work/venv/bin/python" program.py without
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rich==15.0.0
"$work/venv/bin/python" program.py with

#!/usr/bin/env bash
# torchdata 0.11.0 (torch 2.13.0, Python 3.11): a nodes.Loader that was asked for its state drops the one it is given.
#
# `Loader.state_dict()` of a new loader makes its iterator, which the next `iter()` then returns as it is. A state that
# `load_state_dict()` was given in between is not lost but late: the pass that should go on begins at the start, and the
# one after it begins where the first should have. Reading a state changes what loading one does.
#
# What it prints:
#   loaded: [2, 3, 4, 5]
#   asked for its state, then loaded: [0, 1, 2, 3, 4, 5]
#   its next pass: [2, 3, 4, 5]
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torchdata==0.11.0

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM'
from torchdata.nodes import IterableWrapper, Loader


def numbers():
    return Loader(IterableWrapper(range(6)))


saved = numbers()
iterator = iter(saved)
next(iterator), next(iterator)
state = saved.state_dict()

loaded = numbers()
loaded.load_state_dict(state)
going_on = list(loaded)
print("loaded:", going_on)

asked = numbers()
asked.state_dict()
asked.load_state_dict(state)
first, second = list(asked), list(asked)
print("asked for its state, then loaded:", first)
print("its next pass:", second)

raise SystemExit(0 if going_on == second == [2, 3, 4, 5] and first == [0, 1, 2, 3, 4, 5] else 1)
PROGRAM

#!/usr/bin/env bash
# torch 2.13.0 (Python 3.11): torch.utils.benchmark.Timer.timeit(1) runs the statement three times, timeit.timeit once.
#
# Its own documentation says that it mirrors timeit.Timer.timeit. Two calls that nobody asked for come first, to warm
# up, and change what a statement changes: a training step that is measured once is made three times.
#
# What it prints:
#   timeit: 1, torch.utils.benchmark: 3
#   asked for 10: timeit 10, torch.utils.benchmark 12
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM'
import timeit

from torch.utils import benchmark


def calls(timer, number):
    made = []
    timer("step()", globals={"step": lambda: made.append(None)}).timeit(number)
    return len(made)


plain, torchs = calls(timeit.Timer, 1), calls(benchmark.Timer, 1)
plain_of_ten, torchs_of_ten = calls(timeit.Timer, 10), calls(benchmark.Timer, 10)
print(f"timeit: {plain}, torch.utils.benchmark: {torchs}")
print(f"asked for 10: timeit {plain_of_ten}, torch.utils.benchmark {torchs_of_ten}")
raise SystemExit(0 if (plain, torchs, plain_of_ten, torchs_of_ten) == (1, 3, 10, 12) else 1)
PROGRAM

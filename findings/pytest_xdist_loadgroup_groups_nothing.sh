#!/usr/bin/env bash
# pytest-xdist 3.8.0 beside pytest 9.2.0 (Python 3.11): `--dist loadgroup` does not keep a group in one worker.
#
# All tests of two files carry the mark `xdist_group("one")`, so one worker should run all twelve. Both workers run
# some, while `--dist loadfile` keeps the tests of each file in one worker, as it should. Nothing is said of it.
#
# What it prints (which worker comes first changes):
#   loadgroup: workers of the group 2
#   loadfile: workers of each file [1, 1]
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.2.0 pytest-xdist==3.8.0

cd "$work"
for file in a b; do
    cat >"test_$file.py" <<'TESTS'
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(6))
def test_where(number, worker_id):
    time.sleep(0.05)
    with open("seen.txt", "a") as file:
        file.write(f"{__name__} {worker_id}\n")
TESTS
done

for kind in loadgroup loadfile; do
    rm -f seen.txt
    "$work/venv/bin/python" -m pytest -q -n 2 --dist "$kind" >/dev/null
    mv seen.txt "$kind.txt"
done
"$work/venv/bin/python" - <<'PROGRAM'
from pathlib import Path


def seen(kind):
    return [line.split() for line in Path(f"{kind}.txt").read_text().splitlines()]


group = {worker for _, worker in seen("loadgroup")}
files = [len({worker for file, worker in seen("loadfile") if file == name}) for name in ("test_a", "test_b")]
print("loadgroup: workers of the group", len(group))
print("loadfile: workers of each file", files)
raise SystemExit(0 if len(group) == 2 and files == [1, 1] else 1)
PROGRAM

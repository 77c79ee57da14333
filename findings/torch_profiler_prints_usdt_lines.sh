#!/usr/bin/env bash
# torch 2.13.0 for CPUs (Python 3.11): every profile of the CPU writes two lines of its own to the process's output.
#
# `torch.profiler.profile` writes "USDT:<date> <process>:<thread> SyncActivityProfilerHandler.cpp:<line>] profiler_start"
# and the same with profiler_stop, past Python's sys.stdout and sys.stderr. Whoever measures memory or operations with it,
# or reads a program's output, meets them.
#
# What it prints:
#   lines that begin with USDT: 2
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
cat > program.py <<'PROGRAM'
import torch

with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
    torch.ones(3).sum()
PROGRAM
"$work/venv/bin/python" program.py > output 2>&1
count=$(grep -c '^USDT:' output || true)
echo "lines that begin with USDT: $count"
[[ $count == 2 ]]

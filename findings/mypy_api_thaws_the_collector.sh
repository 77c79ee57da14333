#!/usr/bin/env bash
# mypy 2.4.1 (Python 3.11): a check in the same process thaws what its caller had frozen, and turns the collector on.
#
# `mypy.api.run` calls gc.freeze(), gc.unfreeze() and gc.enable() after it has loaded its files, as a way to put its own
# objects into the oldest generation. That is the process's garbage collector: what the caller put aside with
# gc.freeze(), to fork cheaply or to collect quickly, is gone through again from then on, and a collector that was off
# is on. A test suite that checks types in its own process pays for it in every later collection.
#
# What it prints:
#   frozen by the caller, collector off: True
#   still frozen after a check: False
#   collector still off after a check: False
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check mypy==2.4.1

cd "$work"
echo 'x: int = 1' > checked.py
cat > program.py <<'PROGRAM'
import gc
import sys

from mypy import api

gc.disable()
gc.freeze()
print("frozen by the caller, collector off:", gc.get_freeze_count() > 1000 and not gc.isenabled())
_, said, status = api.run(["checked.py"])
assert status == 0, said
after = (gc.get_freeze_count() > 1000, not gc.isenabled())
print("still frozen after a check:", after[0])
print("collector still off after a check:", after[1])
sys.exit(after != (False, False))
PROGRAM
"$work/venv/bin/python" program.py

#!/usr/bin/env bash
# torchrl 0.14.1 (torch 2.13.0, Python 3.11): importing it makes "spawn" the start method of the whole process.
#
# Every DataLoader with workers that is iterated afterwards, also of code that has nothing to do with torchrl, starts new
# interpreters where it had made copies: its dataset must be one that pickle takes (one that holds a lock or a lambda is
# not), changes made to the process since it started are not in the workers, and starting them takes seconds. A process
# that had already started a worker keeps its method: so whether the import comes before or after the first epoch decides.
#
# What it prints:
#   before: None
#   after importing torchrl: spawn
#   workers of a DataLoader: 2 batches before, TypeError after
#   first an epoch, then the import: fork
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 tensordict==0.14.3 torchrl==0.14.1

cd "$work"
cat > program.py <<'PROGRAM'
import multiprocessing
import threading
import warnings

from torch.utils.data import DataLoader, Dataset


class Locked(Dataset):
    def __init__(self):
        self.lock = threading.Lock()

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return index


def batches():
    return len(list(DataLoader(Locked(), num_workers=1)))


if __name__ == "__main__":
    import sys

    warnings.simplefilter("ignore")
    if sys.argv[1:] == ["epoch first"]:
        batches()
        import torchrl

        print("first an epoch, then the import:", multiprocessing.get_start_method())
        raise SystemExit(multiprocessing.get_start_method() != "fork")
    before = multiprocessing.get_start_method(allow_none=True)
    context = multiprocessing.get_context("fork")
    fork = len(list(DataLoader(Locked(), num_workers=1, multiprocessing_context=context)))
    import torchrl

    after = multiprocessing.get_start_method(allow_none=True)
    print("before:", before)
    print("after importing torchrl:", after)
    try:
        found = batches()
    except TypeError:
        found = "TypeError"
    print(f"workers of a DataLoader: {fork} batches before, {found} after")
    raise SystemExit((before, after, fork, found) != (None, "spawn", 2, "TypeError"))
PROGRAM
"$work/venv/bin/python" program.py
"$work/venv/bin/python" program.py "epoch first"

#!/usr/bin/env bash
# datasets 5.2.0, pyarrow 26.0.1 (Python 3.11): a stream takes a state that was saved in a later epoch, and begins anew.
#
# IterableDataset.state_dict() holds the place and the epoch. load_state_dict() keeps both and returns; the place counts
# only if the stream's own epoch, which set_epoch() alone sets, is the saved one (_prepare_ex_iterable_for_iteration in
# datasets/iterable_dataset.py). A new process is in epoch 0: so a state of the first epoch is right, as any first try of
# a resume is, and one of each later epoch gives all rows again from the first on, in the order of epoch 0. Nothing is
# raised or logged. set_epoch() with state["epoch"], before or after loading, mends it.
#
# What it prints: of twelve rows, six were read; those that a new stream gives after load_state_dict().
#   epoch 0, due 6 7 8 9 10 11: loaded 6 7 8 9 10 11; with set_epoch 6 7 8 9 10 11
#   epoch 1, due 6 7 8 9 10 11: loaded 0 1 2 3 4 5 6 7 8 9 10 11; with set_epoch 6 7 8 9 10 11
#   epoch 2, due 6 7 8 9 10 11: loaded 0 1 2 3 4 5 6 7 8 9 10 11; with set_epoch 6 7 8 9 10 11
#   the epoch that the state of epoch 2 holds: 2; that of the stream which has loaded it: 0
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1 datasets==5.2.0

cd "$work"
cat >program.py <<'PROGRAM'
from datasets import Dataset


def stream():
    return Dataset.from_dict({"row": list(range(12))}).to_iterable_dataset()


def rows(dataset):
    return " ".join(str(one["row"]) for one in dataset)


for epoch in range(3):
    read = stream()
    read.set_epoch(epoch)
    left = iter(read)
    for _ in range(6):
        next(left)
    state = read.state_dict()

    loaded, told = stream(), stream()
    for one in (loaded, told):
        one.load_state_dict(state)
    told.set_epoch(state["epoch"])
    print(f"epoch {epoch}, due {rows(left)}: loaded {rows(loaded)}; with set_epoch {rows(told)}")
print(f"the epoch that the state of epoch 2 holds: {state['epoch']}; that of the stream which has loaded it: {loaded.epoch}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
epoch 0, due 6 7 8 9 10 11: loaded 6 7 8 9 10 11; with set_epoch 6 7 8 9 10 11
epoch 1, due 6 7 8 9 10 11: loaded 0 1 2 3 4 5 6 7 8 9 10 11; with set_epoch 6 7 8 9 10 11
epoch 2, due 6 7 8 9 10 11: loaded 0 1 2 3 4 5 6 7 8 9 10 11; with set_epoch 6 7 8 9 10 11
the epoch that the state of epoch 2 holds: 2; that of the stream which has loaded it: 0
EXPECTED

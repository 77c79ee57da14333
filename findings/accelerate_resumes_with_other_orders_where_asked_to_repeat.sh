#!/usr/bin/env bash
# accelerate 1.15.0 (torch 2.13.0, torchdata 0.11.0, Python 3.11): the two settings for exact resumes make them inexact.
#
# A training is saved with save_state after two epochs, and goes on in another process with load_state. By default the
# third epoch has the order that it would have had. With use_seedable_sampler=True, which "ensures training results are
# fully reproducible", it has the order of the first epoch, and the fourth that of the second: the epochs trained on
# before are seen again. The sampler that counts them is to be saved with the rest, but only where the dataset is an
# IterableDatasetShard (save_accelerator_state in accelerate/checkpointing.py), which never has such a sampler. With
# use_stateful_dataloader=True, which saves a loader's place, the third epoch has an order that the whole training does
# not have at all. Nothing warns. loader.set_epoch(2) after load_state mends the first, but not the second.
#
# What it prints: the orders of the epochs, the same letter for the same order.
#   default: whole A B C D, resumed after two epochs C D
#   use_seedable_sampler: whole A B C D, resumed after two epochs A B
#   use_seedable_sampler, set_epoch(2): whole A B C D, resumed after two epochs C D
#   use_stateful_dataloader: whole A B C D, resumed after two epochs E F
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torchdata==0.11.0 \
    accelerate==1.15.0

cd "$work"
cat >program.py <<'PROGRAM'
import json
import sys

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed

what, epoch, options = sys.argv[1], int(sys.argv[2]), dict.fromkeys(sys.argv[3:], True)
set_seed(0)
accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**options))
loader = accelerator.prepare(torch.utils.data.DataLoader(torch.arange(20), shuffle=True))


def orders(count):
    return [[int(batch) for batch in loader] for _ in range(count)]


if what == "save":
    found = orders(2)
    accelerator.save_state("state")
    found += orders(2)
else:
    accelerator.load_state("state")
    if epoch:
        loader.set_epoch(epoch)
    found = orders(2)
json.dump(found, open(what, "w"))
PROGRAM
cat >tell.py <<'PROGRAM'
import json
import sys

whole, resumed = (json.load(open(name)) for name in ("save", "load"))
seen = []
for order in whole + resumed:
    if order not in seen:
        seen.append(order)
letters = ["ABCDEF"[seen.index(order)] for order in whole + resumed]
print(f"{sys.argv[1]}: whole {' '.join(letters[:4])}, resumed after two epochs {' '.join(letters[4:])}")
PROGRAM
python=$work/venv/bin/python
try() {  # the name to print, the epoch to set, and the options
    rm -rf state
    "$python" -W ignore program.py save 0 "${@:3}"
    "$python" -W ignore program.py load "${@:2}"
    "$python" tell.py "$1"
}
{
    try default 0
    try use_seedable_sampler 0 use_seedable_sampler
    try "use_seedable_sampler, set_epoch(2)" 2 use_seedable_sampler
    try use_stateful_dataloader 0 use_stateful_dataloader
} | tee said
cmp - said <<'EXPECTED'
default: whole A B C D, resumed after two epochs C D
use_seedable_sampler: whole A B C D, resumed after two epochs A B
use_seedable_sampler, set_epoch(2): whole A B C D, resumed after two epochs C D
use_stateful_dataloader: whole A B C D, resumed after two epochs E F
EXPECTED

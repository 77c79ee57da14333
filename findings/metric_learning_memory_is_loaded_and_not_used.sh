#!/usr/bin/env bash
# torch 2.13.0, pytorch-metric-learning 2.9.0, numpy 2.4.6 (Python 3.11): a loaded memory of embeddings is not used.
#
# CrossBatchMemory compares each batch with the embeddings of the batches before it. Its state_dict() holds both
# buffers, embeddings and labels; how many of the places are filled and which is next (has_been_filled, queue_idx in
# losses/cross_batch_memory.py) are plain attributes, which it does not hold. load_state_dict() into a new loss says
# that all keys matched, and embedding_memory is the saved one; the next step takes only the rows before queue_idx, its
# own batch's, writes these over the first rows of the memory and ignores the rest. So a resumed training has other
# losses than one that went on for as many steps as it takes to fill the memory anew, and a model that was trained by
# them. Keep the two beside the state, or pickle the loss whole.
#
# What it prints: the embeddings in the memory that each step of the training compares with, after its own are added,
# and how many losses of the resumed trainings are those of the one that went on (the embeddings are given, not learned:
# the two are the last, when the memory is full again).
#   saved after step 6: straight 8 16 24 32 32 32 | 32 32 32 32 32; loaded 8 16 24 32 32, <All keys matched successfully>
#     the loaded memory is the saved one: True; losses of the resumed steps that are equal: 2 of 5
#   with queue_idx and has_been_filled set: 5 of 5; with the loss pickled: 5 of 5
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 \
    pytorch-metric-learning==2.9.0

cd "$work"
cat >program.py <<'PROGRAM'
import copy
import pickle

import torch
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory

torch.manual_seed(0)
batches = [(torch.randn(8, 4), torch.randint(0, 3, (8,))) for _ in range(11)]


def new():
    return CrossBatchMemory(ContrastiveLoss(), embedding_size=4, memory_size=32)


def train(loss, start, end):
    values, counts = [], []
    inner = loss.loss.forward

    def forward(embeddings, labels, indices, memory, memory_labels):
        counts.append(len(memory))
        return inner(embeddings, labels, indices, memory, memory_labels)

    loss.loss.forward = forward
    for embeddings, labels in batches[start:end]:
        values.append(loss(embeddings, labels).item())
    del loss.loss.forward
    return values, " ".join(map(str, counts))


straight = new()
_, before = train(straight, 0, 6)
state = copy.deepcopy(straight.state_dict())
place = straight.queue_idx, straight.has_been_filled
pickled = pickle.dumps(straight)
due, after = train(straight, 6, 11)

loaded = new()
said = loaded.load_state_dict(state)
same = torch.equal(loaded.embedding_memory, state["embedding_memory"])
got, counts = train(loaded, 6, 11)
print(f"saved after step 6: straight {before} | {after}; loaded {counts}, {said}")


def equal(values):
    return f"{sum(one == other for one, other in zip(values, due, strict=True))} of {len(due)}"


print(f"  the loaded memory is the saved one: {same}; losses of the resumed steps that are equal: {equal(got)}")

told = new()
told.load_state_dict(state)
told.queue_idx, told.has_been_filled = place
whole = pickle.loads(pickled)
print(
    f"with queue_idx and has_been_filled set: {equal(train(told, 6, 11)[0])};"
    f" with the loss pickled: {equal(train(whole, 6, 11)[0])}"
)
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
saved after step 6: straight 8 16 24 32 32 32 | 32 32 32 32 32; loaded 8 16 24 32 32, <All keys matched successfully>
  the loaded memory is the saved one: True; losses of the resumed steps that are equal: 2 of 5
with queue_idx and has_been_filled set: 5 of 5; with the loss pickled: 5 of 5
EXPECTED

#!/usr/bin/env bash
# torch 2.13.0 (CPU; numpy 2.4.6, Python 3.11): a sparse tensor cast to another type is another one than the dense
# tensor cast to it.
#
# A sparse COO tensor may hold an entry in several parts, which stand for their sum: the gradient of
# nn.Embedding(sparse=True) does, as do sums, torch.cat and a construction from repeated indices. torch's
# documentation says that most operations give the same for such a tensor and for a coalesced one, and sums up first
# where an operation is not linear: relu() and pow() below are right. The casts (to, int, bool, half, type) convert
# each part on its own: 0.5 + 0.5 is 0 as an integer, 5 - 5 is true as a boolean, a sum in bfloat16 is rounded once
# for each of its parts. Nothing is raised. Call coalesce() before a cast.
#
# What it prints: an entry of 0.5 and 0.5, one of 5 and -5, and one of 0.5, 0.7 and -0.4; as the dense tensor, from
# the coalesced and from the plain sparse one.
#   int32: dense 1 0 0, coalesced 1 0 0, sparse 0 0 0
#   uint8: dense 1 0 0, coalesced 1 0 0, sparse 0 0 0
#   bool: dense 1 0 1, coalesced 1 0 1, sparse 1 1 1
#   bfloat16: dense 1 0 0.8008, coalesced 1 0 0.8008, sparse 1 0 0.8047
#   relu: dense 1 0 0.8, coalesced 1 0 0.8, sparse 1 0 0.8
#   pow: dense 1 0 0.64, coalesced 1 0 0.64, sparse 1 0 0.64
#   a gradient, bfloat16: sparse 0.8047, dense 0.8008
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 torch==2.13.0

cd "$work"
"$work/venv/bin/python" -W ignore - <<'PROGRAM' | tee said
import torch

indices = torch.tensor([[0, 0, 1, 1, 2, 2, 2]])
sparse = torch.sparse_coo_tensor(indices, torch.tensor([0.5, 0.5, 5, -5, 0.5, 0.7, -0.4]), (3,), check_invariants=True)
dense = sparse.to_dense()
casts = {
    "int32": lambda x: x.to(torch.int32),
    "uint8": lambda x: x.byte(),
    "bool": lambda x: x.bool(),
    "bfloat16": lambda x: x.bfloat16(),
    "relu": lambda x: x.relu(),
    "pow": lambda x: x.pow(2),
}
for name, cast in casts.items():
    kinds = {"dense": dense, "coalesced": sparse.coalesce(), "sparse": sparse}
    found = {kind: cast(x) for kind, x in kinds.items()}
    found = {kind: x.to_dense() if x.is_sparse else x for kind, x in found.items()}
    print(f"{name}: " + ", ".join(f"{kind} " + " ".join(f"{float(v):.4g}" for v in x) for kind, x in found.items()))

layer = torch.nn.Embedding(3, 1, sparse=True)
words = torch.tensor([0, 1, 1, 1])
(layer(words).flatten() * torch.tensor([0.2, 0.5, 0.7, -0.4])).sum().backward()
gradient = layer.weight.grad
found = [gradient.bfloat16().to_dense(), gradient.to_dense().bfloat16()]
print(f"a gradient, bfloat16: sparse {found[0][1].item():.4g}, dense {found[1][1].item():.4g}")
PROGRAM
cmp - said <<'EXPECTED'
int32: dense 1 0 0, coalesced 1 0 0, sparse 0 0 0
uint8: dense 1 0 0, coalesced 1 0 0, sparse 0 0 0
bool: dense 1 0 1, coalesced 1 0 1, sparse 1 1 1
bfloat16: dense 1 0 0.8008, coalesced 1 0 0.8008, sparse 1 0 0.8047
relu: dense 1 0 0.8, coalesced 1 0 0.8, sparse 1 0 0.8
pow: dense 1 0 0.64, coalesced 1 0 0.64, sparse 1 0 0.64
a gradient, bfloat16: sparse 0.8047, dense 0.8008
EXPECTED

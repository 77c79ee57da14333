#!/usr/bin/env bash
# torch 2.13.0, torch-geometric 2.8.1, numpy 2.4.6 (Python 3.11): a node follows the largest neighbourhood of its batch.
#
# LSTMAggregation, which SAGEConv(aggr="lstm") uses, and GRUAggregation pad all groups to the largest one of the batch
# and take the last output, [:, -1] in nn/aggr/lstm.py and gru.py: for each smaller group that is the output after steps
# over the padding. So the same node with the same neighbours, in eval mode, gets another embedding with each size of
# the largest neighbourhood (or graph) beside it: other batches of a loader, one more edge elsewhere, and a graph alone
# or in a batch. LCMAggregation counts padding too, PatchTransformerAggregation fills its patches with it, and
# EquilibriumAggregation divides its regularizer by the number of groups, so that it follows the size of the batch. The
# pages of the first three say that the order of the elements counts, not this. One max_num_elements for all batches, no
# smaller than any group, makes the first two the same everywhere (SAGEConv has no place for it).
#
# What it prints: for a group of three elements, whether it is the same beside another one of 2, 3, 4 and 9 as alone.
#   LSTMAggregation: 2 True, 3 True, 4 False, 9 False; with max_num_elements=16 True True True True
#   GRUAggregation: 2 True, 3 True, 4 False, 9 False; with max_num_elements=16 True True True True
#   LCMAggregation: 2 True, 3 True, 4 False, 9 False
#   PatchTransformerAggregation: 2 True, 3 True, 4 True, 9 False
#   EquilibriumAggregation: 2 False, 3 False, 4 False, 9 False
#   SetTransformerAggregation: 2 True, 3 True, 4 True, 9 True
#   Set2Set: 2 True, 3 True, 4 True, 9 True
#   SAGEConv(aggr="lstm"), a node with two neighbours beside an unconnected one with 2 and 5: True False
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torch-geometric==2.8.1

cd "$work"
cat >program.py <<'PROGRAM'
import torch
import torch_geometric.nn as nn

torch.manual_seed(0)
small, large = torch.randn(3, 4), torch.randn(9, 4)
others = (2, 3, 4, 9)


def compare(aggregation, **options):
    alone = aggregation(small, torch.zeros(3, dtype=torch.long), **options)[0]
    for count in others:
        rows, index = torch.cat([small, large[:count]]), torch.tensor([0] * 3 + [1] * count)
        yield torch.allclose(aggregation(rows, index, **options)[0], alone, atol=1e-4)


for aggregation in (
    nn.LSTMAggregation(4, 4),
    nn.GRUAggregation(4, 4),
    nn.LCMAggregation(4, 4),
    nn.PatchTransformerAggregation(4, 4, patch_size=2, hidden_channels=4),
    nn.EquilibriumAggregation(4, 4, num_layers=[4]),
    nn.SetTransformerAggregation(4),
    nn.Set2Set(4, processing_steps=2),
):
    aggregation.eval()
    for parameter in aggregation.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    said = ", ".join(f"{count} {same}" for count, same in zip(others, compare(aggregation), strict=True))
    if isinstance(aggregation, nn.LSTMAggregation | nn.GRUAggregation):
        said += "; with max_num_elements=16 " + " ".join(map(str, compare(aggregation, max_num_elements=16)))
    print(f"{type(aggregation).__name__}: {said}")

layer = nn.SAGEConv(4, 4, aggr="lstm").eval()
nodes = torch.randn(9, 4)
edges = torch.tensor([[1, 2], [0, 0]])
alone = layer(nodes, edges)[0]
beside = []
for count in (2, 5):
    more = torch.tensor([list(range(3, 3 + count)), [8] * count])
    beside.append(torch.allclose(layer(nodes, torch.cat([edges, more], 1))[0], alone, atol=1e-4))
said = " ".join(map(str, beside))
print(f'SAGEConv(aggr="lstm"), a node with two neighbours beside an unconnected one with 2 and 5: {said}')
PROGRAM
"$work/venv/bin/python" -W ignore program.py 2>/dev/null | tee said
cmp - said <<'EXPECTED'
LSTMAggregation: 2 True, 3 True, 4 False, 9 False; with max_num_elements=16 True True True True
GRUAggregation: 2 True, 3 True, 4 False, 9 False; with max_num_elements=16 True True True True
LCMAggregation: 2 True, 3 True, 4 False, 9 False
PatchTransformerAggregation: 2 True, 3 True, 4 True, 9 False
EquilibriumAggregation: 2 False, 3 False, 4 False, 9 False
SetTransformerAggregation: 2 True, 3 True, 4 True, 9 True
Set2Set: 2 True, 3 True, 4 True, 9 True
SAGEConv(aggr="lstm"), a node with two neighbours beside an unconnected one with 2 and 5: True False
EXPECTED

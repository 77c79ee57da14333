#!/usr/bin/env bash
# torch 2.13.0 (Python 3.11): sum(), mean() and max() of a jagged tensor count what narrow() left out of it.
#
# torch.nested.narrow() with layout=torch.jagged, and nested_tensor_from_jagged() with offsets and lengths, give a view
# with holes: the rows of a padded batch without their padding. unbind() and numel() know of the lengths; a reduction to
# one number runs over the whole buffer that the view lies in, hidden elements too, and mean() divides by their number.
# So a loss that ends in .sum() or .mean() follows what the padding holds, and its gradient flows into the padding. A
# reduction over the ragged dimension alone is refused beside holes; this one is not. torch.cat(view.unbind()) mends it
# (contiguous() too, but a backward() through it raises). With two rows unbind() is wrong too, where the first row is
# whole: its check for holes looks at the rows between the first and the last (jagged_from_tensor_and_lengths; an open
# issue, pytorch/pytorch#196708), the view is called contiguous, has no lengths any more, and the padding of the first
# row is part of it.
#
# What it prints: the seen elements and the reductions; the same with another padding; the gradient of the sum; and what
# is left of rows 0 1 2 3 and 4 5 6 7 for starts 0, 1 and lengths 4, 3, alone and before a third row.
#   seen: 0 1 / 9 10 11 / 18 19 20 21, numel() 9, padding as counted
#     of the view: sum 276, mean 11.5, max 23; due: sum 109, mean 12.1, max 21; contiguous(): sum 109, mean 12.1, max 21
#   seen: 0 1 / 9 10 11 / 18 19 20 21, numel() 9, padding 1000
#     of the view: sum 15109, mean 629.5, max 1000; due: sum 109, mean 12.1, max 21; contiguous(): sum 109, mean 12.1, max 21
#   elements with a gradient: of the view 24, of its joined rows 9
#   two rows: 0 1 2 3 4 / 5 6 7, contiguous True; before a third: 0 1 2 3 / 5 6 7, contiguous False
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
cat >program.py <<'PROGRAM'
import torch


def narrow(rows, starts, lengths):
    return torch.nested.narrow(rows, 1, torch.tensor(starts), torch.tensor(lengths), layout=torch.jagged)


def text(nested):
    return " / ".join(" ".join(f"{value:g}" for value in row.tolist()) for row in nested.unbind())


def reduced(tensor):
    return f"sum {tensor.sum().item():g}, mean {tensor.mean().item():.1f}, max {tensor.max().item():g}"


starts, lengths = [0, 1, 2], [2, 3, 4]
place = torch.arange(8)
seen = torch.stack([(place >= start) & (place < start + length) for start, length in zip(starts, lengths, strict=True)])
rows = torch.arange(24.0).reshape(3, 8)
for name, batch in {"as counted": rows, "1000": rows.where(seen, 1000.0)}.items():
    view = narrow(batch, starts, lengths)
    print(f"seen: {text(view)}, numel() {view.numel()}, padding {name}")
    print(f"  of the view: {reduced(view)}; due: {reduced(batch[seen])}; contiguous(): {reduced(view.contiguous())}")

counts = []
for change in (lambda view: view, lambda view: torch.cat(view.unbind())):
    batch = rows.clone().requires_grad_()
    change(narrow(batch, starts, lengths)).sum().backward()
    counts.append(int(batch.grad.count_nonzero()))
print(f"elements with a gradient: of the view {counts[0]}, of its joined rows {counts[1]}")

two = narrow(torch.arange(8.0).reshape(2, 4), [0, 1], [4, 3])
three = narrow(torch.arange(12.0).reshape(3, 4), [0, 1, 0], [4, 3, 4])
rest = " / ".join(text(three).split(" / ")[:2])
alone, before = (f"contiguous {one.is_contiguous()}" for one in (two, three))
print(f"two rows: {text(two)}, {alone}; before a third: {rest}, {before}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py 2>/dev/null | tee said
cmp - said <<'EXPECTED'
seen: 0 1 / 9 10 11 / 18 19 20 21, numel() 9, padding as counted
  of the view: sum 276, mean 11.5, max 23; due: sum 109, mean 12.1, max 21; contiguous(): sum 109, mean 12.1, max 21
seen: 0 1 / 9 10 11 / 18 19 20 21, numel() 9, padding 1000
  of the view: sum 15109, mean 629.5, max 1000; due: sum 109, mean 12.1, max 21; contiguous(): sum 109, mean 12.1, max 21
elements with a gradient: of the view 24, of its joined rows 9
two rows: 0 1 2 3 4 / 5 6 7, contiguous True; before a third: 0 1 2 3 / 5 6 7, contiguous False
EXPECTED

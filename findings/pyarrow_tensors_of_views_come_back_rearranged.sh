#!/usr/bin/env bash
# pyarrow 26.0.1, numpy 2.4.6 (Python 3.11): a column of tensors that was made of a transposed view gives other numbers.
#
# FixedShapeTensorArray.from_numpy_ndarray() takes a view with its axes in another order, keeps its memory and stores
# the order as the type's permutation; what it stores is the inverse of what the format says. Where the two are the
# same, as for a swap of two axes, the array is right; where they are not, as for channels first seen as channels last,
# to_numpy_ndarray() gives another shape, or, with axes of one length, the same shape and other numbers. One tensor of
# the column, column[0].to_numpy() or to_tensor(), is wrong even for a plain transpose: it repeats some numbers and
# lacks others. So a batch and its rows differ. A Parquet file keeps the permutation, and what is read from it is as
# wrong. For some shapes ArrowInvalid is raised instead. The copy that numpy.ascontiguousarray() makes comes back right.
#
# What it prints: for views of two tensors each, the column as a whole, after a round trip through Parquet, its first
# tensor alone, and the column of a copy.
#   transposed matrices: whole equal, from Parquet equal, first of other numbers, of a copy equal
#   channels last: whole of another shape, from Parquet of another shape, first of another shape, of a copy equal
#   turned cubes: whole of other numbers, from Parquet of other numbers, first of other numbers, of a copy equal
#   [[0, 3], [1, 4], [2, 5]] as the first: [[0, 2], [1, 3], [2, 4]]
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pyarrow==26.0.1

cd "$work"
cat >program.py <<'PROGRAM'
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def count(*shape):
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape)


def told(got, due):
    return "equal" if np.array_equal(got, due) else "of other numbers" if got.shape == due.shape else "of another shape"


def column(view):
    return pa.FixedShapeTensorArray.from_numpy_ndarray(view)


def parquet(made):
    pq.write_table(pa.table({"x": made}), "file.parquet")
    return pq.read_table("file.parquet")["x"].combine_chunks()


views = {
    "transposed matrices": count(2, 2, 3).transpose(0, 2, 1),
    "channels last": count(2, 3, 20, 20).transpose(0, 2, 3, 1),
    "turned cubes": count(2, 4, 4, 4).transpose(0, 2, 3, 1),
}
for name, view in views.items():
    made = column(view)
    found = {
        "whole": told(made.to_numpy_ndarray(), view),
        "from Parquet": told(parquet(made).to_numpy_ndarray(), view),
        "first": told(made[0].to_numpy(), view[0]),
        "of a copy": told(column(np.ascontiguousarray(view)).to_numpy_ndarray(), view),
    }
    print(f"{name}:", ", ".join(f"{what} {how}" for what, how in found.items()))
made = column(views["transposed matrices"])
print(views["transposed matrices"][0].tolist(), "as the first:", made[0].to_numpy().tolist())
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
transposed matrices: whole equal, from Parquet equal, first of other numbers, of a copy equal
channels last: whole of another shape, from Parquet of another shape, first of another shape, of a copy equal
turned cubes: whole of other numbers, from Parquet of other numbers, first of other numbers, of a copy equal
[[0, 3], [1, 4], [2, 5]] as the first: [[0, 2], [1, 3], [2, 4]]
EXPECTED

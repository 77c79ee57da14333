#!/usr/bin/env bash
# safetensors 0.8.0, numpy 2.4.6 (Python 3.11): the same tensors with the same metadata are another file each time.
#
# The tensors are written in a fixed order, whatever that of the dictionary is. The entries of metadata= are written in
# the order of a hash table, which is another one in each call. So as soon as there are two of them the digest of a file
# says nothing about whether two runs came to the same weights, a content-addressed store keeps each copy, and a stage of
# a pipeline that is compared by the digest of its outputs is always stale. What is read back is equal.
#
# What it prints, of twelve files each:
#   without metadata: one file
#   one entry of metadata: one file
#   eight entries of metadata: more than one file, one content
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 safetensors==0.8.0

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save, save_file

TENSORS = {"weight": np.arange(6, dtype=np.float32), "bias": np.zeros(2, np.float32)}
BACKWARDS = dict(reversed(TENSORS.items()))

for name, count in {"without metadata": 0, "one entry of metadata": 1, "eight entries of metadata": 8}.items():
    metadata = {f"key {number}": "value" for number in range(count)} or None
    files = {save([TENSORS, BACKWARDS][number % 2], metadata) for number in range(12)}
    if len(files) == 1:
        print(f"{name}: one file")
        continue
    read = set()
    for number in range(4):
        save_file(TENSORS, "file", metadata)
        with safe_open("file", "np") as opened:
            entries = sorted(opened.metadata().items())
            read.add(repr((entries, [opened.get_tensor(key).tolist() for key in sorted(opened.keys())])))
    print(f"{name}: more than one file, {'one content' if len(read) == 1 else 'other contents'}")
PROGRAM
cmp - said <<'EXPECTED'
without metadata: one file
one entry of metadata: one file
eight entries of metadata: more than one file, one content
EXPECTED

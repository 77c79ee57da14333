#!/usr/bin/env bash
# keras 3.15.1 with torch 2.13.0 (CPU, numpy 2.4.6, Python 3.11): Dropout(0.5, seed=1) begins with the second mask of
# seed=0, and a model that was saved begins with its first mask again.
#
# With torch as backend a draw is seeded with the sum of the seed and of how many draws there were before
# (torch_seed_generator in keras/src/backend/torch/random.py). So layers with the seeds 0, 1 and 2, as one writes them to
# make them differ, drop the same units one step later, and so do runs with such seeds. How many draws there were is a
# variable of the layer, and model.save() leaves it out: after load_model() the counter is 0, and a training that is gone
# on with drops in its first steps what the one before had dropped in its own. Seeds that lie far apart do not share.
#
# What it prints: the masks of four steps, the same letter for the same mask.
#   seed 0: A B C D
#   seed 1: B C D E
#   seed 2: C D E F
#   seed 1000: G H I J
#   one model with seed 1000, four steps, saved, loaded, four more: G H I J G H I J
#   the same without saving: G H I J K L M N
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 keras==3.15.1

cd "$work"
KERAS_BACKEND=torch KERAS_HOME="$work" "$work/venv/bin/python" -W ignore - <<'PROGRAM' | tee said
import string

import keras
import numpy as np

ones = np.ones((1, 64), np.float32)
seen = []


def new(seed):
    return keras.Sequential([keras.Input((64,)), keras.layers.Dropout(0.5, seed=seed)])


def masks(model):
    drawn = [tuple(keras.ops.convert_to_numpy(model(ones, training=True))[0] > 0) for _ in range(4)]
    seen.extend(mask for mask in drawn if mask not in seen)
    return " ".join(string.ascii_uppercase[seen.index(mask)] for mask in drawn)


for seed in (0, 1, 2, 1000):
    print(f"seed {seed}: {masks(new(seed))}")
model = new(1000)
before = masks(model)
model.save("model.keras")
after = masks(keras.models.load_model("model.keras"))
print(f"one model with seed 1000, four steps, saved, loaded, four more: {before} {after}")
print(f"the same without saving: {before} {masks(model)}")
PROGRAM
cmp - said <<'EXPECTED'
seed 0: A B C D
seed 1: B C D E
seed 2: C D E F
seed 1000: G H I J
one model with seed 1000, four steps, saved, loaded, four more: G H I J G H I J
the same without saving: G H I J K L M N
EXPECTED

#!/usr/bin/env bash
# opencv 5.0.0.93 and torch 2.13.0 (numpy 2.4.6, Python 3.11, Linux): cv2.randn draws the same in every worker of a
# DataLoader, and in every epoch again.
#
# torch gives each worker seeds of its own for Python's, numpy's and torch's generators, new ones in each epoch. OpenCV
# has a generator of its own, which begins with a constant, and a worker is a copy of the parent, in which nothing has
# drawn from it. So noise made with cv2.randn or cv2.randu, or the centers that cv2.kmeans begins with, are the same
# numbers in all workers, in all epochs and with all seeds: a training that augments a million images in ten epochs sees
# as many different noises as one worker makes samples in one. numpy's, beside it, are all different.
# cv2.setRNGSeed in worker_init_fn, from torch.initial_seed(), mends it.
#
# What it prints:
#   numpy: 32 draws, 32 different
#   cv2.randn: 32 draws, 4 different
#   cv2.randn, seeded in worker_init_fn: 32 draws, 32 different
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 \
    opencv-python-headless==5.0.0.93

cd "$work"
cat > program.py <<'PROGRAM'
import sys

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Noise(Dataset):
    def __init__(self, draw):
        self.draw = draw

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.draw()


def by_opencv():
    noise = np.zeros((1, 4), np.float32)
    cv2.randn(noise, 0, 1)
    return str(noise)


def seed_opencv(worker):
    cv2.setRNGSeed(torch.initial_seed() % 2**31)


def different(draw, **arguments):
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        loader = DataLoader(
            Noise(draw), batch_size=None, num_workers=2, multiprocessing_context="fork", **arguments
        )
        drawn += [sample for epoch in range(2) for sample in loader]
    return f"{len(drawn)} draws, {len(set(drawn))} different"


found = {
    "numpy": different(lambda: str(np.random.rand())),
    "cv2.randn": different(by_opencv),
    "cv2.randn, seeded in worker_init_fn": different(by_opencv, worker_init_fn=seed_opencv),
}
for name, said in found.items():
    print(f"{name}: {said}")
sys.exit(list(found.values()) != ["32 draws, 32 different", "32 draws, 4 different", "32 draws, 32 different"])
PROGRAM
"$work/venv/bin/python" program.py

"""Generators without a seed, and what stands where the watch over entropy puts its own."""

from __future__ import annotations

import os
import random
import uuid
from typing import Any

import numpy as np
import numpy.random.bit_generator as numpy_bits
import torch

PLACES = [(os, "urandom"), (random, "_urandom"), (random, "seed"), (random.Random, "seed"), (uuid, "uuid1")]
PLACES += [(np.random, "RandomState"), (np.random, "Philox"), (np.random.mtrand, "_MT19937"), (uuid, "uuid4")]
PLACES += [(numpy_bits, "randbits"), (numpy_bits, "_coerce_to_uint32_array"), (np.random, "seed"), (torch, "Generator")]
PLACES += [(type(torch.default_generator), name) for name in ("seed", "manual_seed")]


def draws() -> list[float]:
    made: list[Any] = [np.random.default_rng(), np.random.RandomState(), random.Random()]
    return [one.random() for one in made]


def standing() -> list[Any]:
    return [vars(owner)[name] for owner, name in PLACES]

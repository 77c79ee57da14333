"""The eight runs of the demo, and the state of the process around each."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import DataLoader

from ... import describe, make_loader, reproducible
from ...ground.seeds import derive_seed
from .digits import load, train
from .verdict import OTHER_SEED, SEED, Outcome, Run

COUNT = 8


def perform(epochs: int, on_start: Callable[[str], None], on_epoch: Callable[[], None]) -> list[Run]:
    """Train eight times.

    The controlled runs stand between uncontrolled ones, so that each begins with the generators in another state.
    Leaves the process-global generators of Python, numpy and torch where the last uncontrolled run left them.

    Args:
        epochs: How often each run reads every scan.
        on_start: Called before every run with what the table calls it.
        on_epoch: Called after every epoch.

    Returns:
        The runs: uncontrolled, reproducible, another seed, decorated.
    """
    digits = load(torch.Generator().manual_seed(derive_seed(SEED, "demo", "held-out")))

    def uncontrolled() -> Outcome:
        return train(DataLoader, digits, epochs, on_epoch)

    def controlled(seed: int) -> Outcome:
        with reproducible(seed=seed, deterministic=True):
            return train(make_loader, digits, epochs, on_epoch)

    @reproducible(seed=SEED)
    def decorated() -> Outcome:
        return train(make_loader, digits, epochs, on_epoch)

    def run(label: str, seed: int | None, body: Callable[[], Outcome]) -> Run:
        on_start(label)
        before = states()
        outcome = body()
        return Run(label, seed, outcome, before, states())

    free, same = [], []
    with _one_thread():
        for number in (1, 2, 3):
            free.append(run(f"uncontrolled {number}", None, uncontrolled))
            same.append(run(f"reproducible {number}", SEED, lambda: controlled(SEED)))
        same.append(run("decorated", SEED, decorated))
        other = run("another seed", OTHER_SEED, lambda: controlled(OTHER_SEED))
    return [*free, *same, other]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Leave the cores to the two workers; and the bits then do not depend on how many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def states() -> dict[str, str]:
    """Return a digest of every generator and setting by name: the library's own account, and three witnesses of it.

    Changes nothing.
    """
    found = {name: json.dumps(value, sort_keys=True).encode() for name, value in describe().items()}
    kind, words, *rest = np.random.get_state(legacy=True)
    found["random.getstate()"] = repr(random.getstate()).encode()
    found["numpy.random.get_state()"] = repr((kind, rest)).encode() + np.asarray(words).tobytes()
    found["torch.get_rng_state()"] = torch.get_rng_state().numpy().tobytes()
    return {name: hashlib.blake2b(value, digest_size=8).hexdigest() for name, value in found.items()}

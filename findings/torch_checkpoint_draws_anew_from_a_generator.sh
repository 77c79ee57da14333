#!/usr/bin/env bash
# torch 2.13.0, numpy 2.4.6 (Python 3.11): under activation checkpointing a mask of one's own generator is another one in backward.
#
# checkpoint() puts torch's default generators back before it runs a function again, so that dropout has the same mask.
# It knows no other generator: what draws from a torch.Generator that is passed to it, from numpy or from random draws
# the next numbers in the recomputation. The gradient is then that of another mask than the one that made the loss, and
# the generator has moved twice as far. Nothing is raised: determinism_check looks at shapes, types and devices. With
# preserve_rng_state=True, the default, one expects the same. Both kinds of use_reentrant do it. Draw the mask before, and
# pass it in; or give the generator back its state in context_fn.
#
# What it prints: of loss = (x * mask).sum() the gradient of x is the mask: whether it is the one of the forward pass.
#   use_reentrant=False: torch.rand(...) True, torch.rand(..., generator=own) False, numpy.random False, drawn before True
#   use_reentrant=True: torch.rand(...) True, torch.rand(..., generator=own) False, numpy.random False, drawn before True
#   numbers that own has drawn for four elements: with checkpoint() 8, without 4
#   own put back in context_fn: True
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
cat >program.py <<'PROGRAM'
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

own = torch.Generator()
seen = []


def masked(x, draw):
    mask = draw() > 0.5
    seen.append(mask)
    return (x * mask).sum()


def same(draw, **options):
    torch.manual_seed(0)
    np.random.seed(0)
    own.manual_seed(0)
    seen.clear()
    x = torch.ones(64, requires_grad=True)
    checkpoint(masked, x, draw, **options).backward()
    return torch.equal(x.grad.bool(), seen[0])


given = torch.rand(64)
draws = {
    "torch.rand(...)": lambda: torch.rand(64),
    "torch.rand(..., generator=own)": lambda: torch.rand(64, generator=own),
    "numpy.random": lambda: torch.from_numpy(np.random.random(64)),
    "drawn before": lambda: given,
}
for reentrant in (False, True):
    said = ", ".join(f"{name} {same(draw, use_reentrant=reentrant)}" for name, draw in draws.items())
    print(f"use_reentrant={reentrant}: {said}")


def drawn(run):
    own.manual_seed(0)
    x = torch.ones(4, requires_grad=True)
    run(lambda x: (x * torch.rand(4, generator=own, dtype=torch.float64)).sum(), x).backward()
    after = own.get_state()
    for count in range(17):
        own.manual_seed(0)
        torch.rand(count, generator=own, dtype=torch.float64)
        if torch.equal(own.get_state(), after):
            return count


counts = drawn(lambda function, x: checkpoint(function, x, use_reentrant=False)), drawn(lambda function, x: function(x))
print(f"numbers that own has drawn for four elements: with checkpoint() {counts[0]}, without {counts[1]}")


def contexts():
    before = own.get_state()

    @contextmanager
    def put_back():
        after = own.get_state()
        own.set_state(before)
        yield
        own.set_state(after)

    return nullcontext(), put_back()


print(f"own put back in context_fn: {same(draws['torch.rand(..., generator=own)'], use_reentrant=False, context_fn=contexts)}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
use_reentrant=False: torch.rand(...) True, torch.rand(..., generator=own) False, numpy.random False, drawn before True
use_reentrant=True: torch.rand(...) True, torch.rand(..., generator=own) False, numpy.random False, drawn before True
numbers that own has drawn for four elements: with checkpoint() 8, without 4
own put back in context_fn: True
EXPECTED

#!/usr/bin/env bash
# torch 2.13.0 (CPU, Python 3.11): torch.compile fails on a generator of a class derived from torch.Generator.
#
# torch.Generator may be derived from, for example to count or to refuse what is drawn, and every operation takes an
# instance of such a class as generator=. A compiled function that is handed one fails instead of falling back: dynamo
# knows generators by their very type, and takes another one for a user's object, which an operation's schema refuses.
# A genuine torch.Generator in its place is compiled, or the graph is broken there. So whoever wants to watch over
# generators cannot do it by a class of his own.
#
# What it prints: for each generator, whether the operation and the compiled function work.
#   Generator: eager True, compiled True
#   Derived: eager True, compiled False
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cd "$work"
"$work/venv/bin/python" - 2>log <<'PROGRAM' | tee said
import torch


class Derived(torch.Generator):
    pass


def noise(x, generator):
    return x + torch.rand(3, generator=generator)


def works(function, generator):
    try:
        function(torch.zeros(3), generator)
    except Exception:
        return False
    return True


compiled = torch.compile(noise, backend="eager")
for kind in (torch.Generator, Derived):
    generator = kind().manual_seed(0)
    print(f"{kind.__name__}: eager {works(noise, generator)}, compiled {works(compiled, generator)}")
PROGRAM
cmp - said <<'EXPECTED'
Generator: eager True, compiled True
Derived: eager True, compiled False
EXPECTED

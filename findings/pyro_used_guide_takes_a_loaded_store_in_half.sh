#!/usr/bin/env bash
# torch 2.13.0, pyro-ppl 1.9.2, numpy 2.4.6 (Python 3.11): a guide that was used once takes loaded parameters in half.
#
# pyro.get_param_store().load() puts the saved values into the store. An autoguide makes its parameters at its first
# call and holds them itself as well. Where that call came before the load (by svi.evaluate_loss() or guide()), the
# store has the saved values and the guide its own: AutoDiagonalNormal and AutoMultivariateNormal have other losses from
# the first step on, and their median() stays another one; AutoNormal trains on with the loaded ones, but until its next
# step its median() tells the old ones; AutoDelta takes all. Nothing is raised, and the store looks right after the
# load. A new process that loads first, as a first try of a resume does, is right. The page of PyroModule says that a
# module can be loaded by the store. Load before the first call, or clear the store after it and load the guide's own
# state_dict().
#
# What it prints: after six steps, saved and loaded with the optimizer and the random state, how many losses of six more
# steps and which median() are those of one that went on; the store has the saved values after each load.
#   AutoDiagonalNormal: loaded before the first call: steps 6 of 6, median saved, at the end as due
#   AutoDiagonalNormal: loaded after it: steps 0 of 6, median not saved, at the end not as due
#   AutoDiagonalNormal: loaded after it, by the guide: steps 6 of 6, median saved, at the end as due
#   AutoMultivariateNormal: loaded before the first call: steps 6 of 6, median saved, at the end as due
#   AutoMultivariateNormal: loaded after it: steps 0 of 6, median not saved, at the end not as due
#   AutoMultivariateNormal: loaded after it, by the guide: steps 6 of 6, median saved, at the end as due
#   AutoNormal: loaded before the first call: steps 6 of 6, median saved, at the end as due
#   AutoNormal: loaded after it: steps 6 of 6, median not saved, at the end as due
#   AutoNormal: loaded after it, by the guide: steps 6 of 6, median saved, at the end as due
#   AutoDelta: loaded before the first call: steps 6 of 6, median saved, at the end as due
#   AutoDelta: loaded after it: steps 6 of 6, median saved, at the end as due
#   AutoDelta: loaded after it, by the guide: steps 6 of 6, median saved, at the end as due
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pyro-ppl==1.9.2

cd "$work"
cat >program.py <<'PROGRAM'
import pyro
import torch
from pyro import distributions, optim
from pyro.infer import SVI, Trace_ELBO, autoguide

seen = torch.randn(50, generator=torch.Generator().manual_seed(0)) + 3


def model():
    mean = pyro.sample("mean", distributions.Normal(0, 1))
    with pyro.plate("rows", 50):
        pyro.sample("seen", distributions.Normal(mean, 1), obs=seen)


def new(kind):
    pyro.clear_param_store()
    guide, optimizer = kind(model), optim.Adam({"lr": 0.05})
    return guide, optimizer, SVI(model, guide, optimizer, Trace_ELBO())


def median(guide):
    return guide.median()["mean"].item()


def stored():
    return {name: value.detach().clone() for name, value in pyro.get_param_store().items()}


kinds = ("AutoDiagonalNormal", "AutoMultivariateNormal", "AutoNormal", "AutoDelta")
for kind in (getattr(autoguide, name) for name in kinds):
    pyro.set_rng_seed(0)
    guide, optimizer, svi = new(kind)
    for _ in range(6):
        svi.step()
    pyro.get_param_store().save("parameters")
    optimizer.save("optimizer")
    state = {name: value.clone() for name, value in guide.state_dict().items()}
    random, values, place = pyro.util.get_rng_state(), stored(), median(guide)
    pyro.util.set_rng_state(random)
    due, end = [svi.step() for _ in range(6)], median(guide)
    for name in ("before the first call", "after it", "after it, by the guide"):
        guide, optimizer, svi = new(kind)
        if name != "before the first call":
            svi.evaluate_loss()
        if name == "after it, by the guide":
            pyro.clear_param_store()
            guide.load_state_dict(state)
            guide()
        else:
            pyro.get_param_store().load("parameters")
        optimizer.load("optimizer")
        if name == "before the first call":
            guide()
        told = "saved" if median(guide) == place else "not saved"
        assert all(torch.equal(value, values[one]) for one, value in stored().items())
        pyro.util.set_rng_state(random)
        steps = sum(svi.step() == loss for loss in due)
        last = "as due" if median(guide) == end else "not as due"
        print(f"{kind.__name__}: loaded {name}: steps {steps} of 6, median {told}, at the end {last}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
AutoDiagonalNormal: loaded before the first call: steps 6 of 6, median saved, at the end as due
AutoDiagonalNormal: loaded after it: steps 0 of 6, median not saved, at the end not as due
AutoDiagonalNormal: loaded after it, by the guide: steps 6 of 6, median saved, at the end as due
AutoMultivariateNormal: loaded before the first call: steps 6 of 6, median saved, at the end as due
AutoMultivariateNormal: loaded after it: steps 0 of 6, median not saved, at the end not as due
AutoMultivariateNormal: loaded after it, by the guide: steps 6 of 6, median saved, at the end as due
AutoNormal: loaded before the first call: steps 6 of 6, median saved, at the end as due
AutoNormal: loaded after it: steps 6 of 6, median not saved, at the end as due
AutoNormal: loaded after it, by the guide: steps 6 of 6, median saved, at the end as due
AutoDelta: loaded before the first call: steps 6 of 6, median saved, at the end as due
AutoDelta: loaded after it: steps 6 of 6, median saved, at the end as due
AutoDelta: loaded after it, by the guide: steps 6 of 6, median saved, at the end as due
EXPECTED

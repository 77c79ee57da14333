#!/usr/bin/env bash
# optuna 5.0.0, numpy 2.4.6 (Python 3.11): with n_jobs=2 a sampler's seed is replaced by the system's entropy.
#
# One would think that two threads take the seed's numbers in another order. But each trial first reseeds the sampler
# without a number (study.sampler.reseed_rng() in optuna/study/_optimize.py, for threads and meant for copies of one
# sampler), so none of the seed's numbers is drawn, not even by a RandomSampler, to which the order does not matter. The
# sampler stays as it is then: a study with it and n_jobs=1 does not repeat either. To repeat trials that run at once,
# draw them before (study.enqueue_trial) or give each process a sampler with a seed of its own and n_jobs=1.
#
# What it prints: how many of a second study's eight parameters a first one had, too; all samplers have seed 0.
#   RandomSampler: n_jobs=1 8, n_jobs=2 0, n_jobs=1 with the samplers of n_jobs=2 0
#   TPESampler: n_jobs=1 8, n_jobs=2 0, n_jobs=1 with the samplers of n_jobs=2 0
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 optuna==5.0.0

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def drawn(sampler, n_jobs):
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("rate", 0, 1) ** 2, n_trials=8, n_jobs=n_jobs)
    return {trial.params["rate"] for trial in study.trials}


for kind in (optuna.samplers.RandomSampler, optuna.samplers.TPESampler):
    fresh = [kind(seed=0) for _ in range(2)]
    used = [kind(seed=0) for _ in range(2)]
    one = len(set.intersection(*(drawn(sampler, 1) for sampler in fresh)))
    two = len(set.intersection(*(drawn(sampler, 2) for sampler in used)))
    after = len(set.intersection(*(drawn(sampler, 1) for sampler in used)))
    print(f"{kind.__name__}: n_jobs=1 {one}, n_jobs=2 {two}, n_jobs=1 with the samplers of n_jobs=2 {after}")
PROGRAM
cmp - said <<'EXPECTED'
RandomSampler: n_jobs=1 8, n_jobs=2 0, n_jobs=1 with the samplers of n_jobs=2 0
TPESampler: n_jobs=1 8, n_jobs=2 0, n_jobs=1 with the samplers of n_jobs=2 0
EXPECTED

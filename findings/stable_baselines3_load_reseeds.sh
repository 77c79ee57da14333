#!/usr/bin/env bash
# stable-baselines3 2.9.2 (torch 2.13.0, gymnasium 1.4.0, numpy 2.4.6, Python 3.11): loading a model seeds the process.
#
# `PPO.load()` seeds Python's, numpy's and torch's global generators, and the environment that it is given, with the
# `seed=` that the model was made with, however far it was trained. Its documentation says that `load` "re-creates the
# model from scratch", and nothing of generators.
#   - A seed set before the load has no effect after it: programs with seeds 1 and 2 draw the same numbers.
#   - A training that is saved and gone on with does not go on: it begins again with the first episode's initial state,
#     where the one that was not interrupted sees new states.
#
# What it prints:
#   drawn after the load, seed 1: 0.844422 0.548814 0.077999
#   drawn after the load, seed 2: 0.844422 0.548814 0.077999
#   initial states of the whole training: [0.0137, -0.023, -0.0459, -0.0483] [...] ...
#   first initial state after the load: [0.0137, -0.023, -0.0459, -0.0483]
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 gymnasium==1.4.0 stable-baselines3==2.9.2

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM'
import random

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO

torch.set_num_threads(1)


class Noted(gymnasium.Wrapper):
    """Notes the state in which each episode begins."""

    def __init__(self):
        super().__init__(gymnasium.make("CartPole-v1"))
        self.begun = []

    def reset(self, **arguments):
        state, info = super().reset(**arguments)
        self.begun.append([round(number, 4) for number in state.tolist()])
        return state, info


whole = Noted()
model = PPO("MlpPolicy", whole, n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu")
model.learn(64)
model.save("model.zip")
model.learn(64, reset_num_timesteps=False)

drawn = []
for seed in (1, 2):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    PPO.load("model.zip", device="cpu")
    drawn.append(f"{random.random():.6f} {np.random.rand():.6f} {torch.rand(1).item():.6f}")
    print(f"drawn after the load, seed {seed}: {drawn[-1]}")

resumed = Noted()
PPO.load("model.zip", env=resumed, device="cpu").learn(64, reset_num_timesteps=False)
print("initial states of the whole training:", *whole.begun)
print("first initial state after the load:", resumed.begun[0])

seeded_again = drawn[0] == drawn[1]
began_again = resumed.begun[0] == whole.begun[0] and whole.begun.count(whole.begun[0]) == 1
raise SystemExit(0 if seeded_again and began_again else 1)
PROGRAM

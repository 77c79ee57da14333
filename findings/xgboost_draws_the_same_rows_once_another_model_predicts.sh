#!/usr/bin/env bash
# xgboost 3.2.0 (numpy 2.4.6, Python 3.11): a training draws the same rows in every round once another model predicts
# between them.
#
# subsample draws from a generator that is the thread's and not the model's, and a Booster seeds it when it first predicts
# or is first trained. So a model that is loaded while another one is trained, and predicts on the same thread, puts back
# the generator of that training. A callback or an objective that loads a saved model in each round and asks it (the best
# one so far, a baseline) makes every round draw the same half of the rows, and nothing is said. Two models with other
# seeds that are trained by turns draw otherwise than alone, and a training that is saved and loaded begins with the rows
# of its first rounds again. In another thread the other model does no harm.
#
# What it prints: which rows each of eight rounds drew, the same letter for the same rows.
#   alone: ABCDEFGH
#   a loaded model predicts before each further round: AIIIIIII
#   the same in another thread: ABCDEFGH
#   by turns with a model of another seed: AJKLMNOP
#   saved and loaded after four rounds: ABCDABCD
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 xgboost-cpu==3.2.0

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import string
import threading

import numpy as np
import xgboost as xgb

rng = np.random.default_rng(0)
rows = rng.normal(size=(1000, 5))
# weights of their own make the sum of what a round drew a name for it; squared errors leave them as they are
data = xgb.DMatrix(rows, rows[:, 0] + rng.normal(size=1000), weight=rng.random(1000))
settings = {"subsample": 0.5, "seed": 1, "max_depth": 2, "base_score": 0.0, "nthread": 2}
seen = []


def show(name, model):
    drawn = [tree.split("cover=")[1].split()[0].split(",")[0] for tree in model.get_dump(with_stats=True)]
    seen.extend(key for key in dict.fromkeys(drawn) if key not in seen)
    print(f"{name}: {''.join(string.ascii_uppercase[seen.index(key)] for key in drawn)}")


def train(between=lambda model, round_: model):
    model = xgb.Booster(settings, [data])
    for round_ in range(8):
        if round_:
            model = between(model, round_)
        model.update(data, round_)
    return model


def ask():
    xgb.Booster(model_file="baseline.ubj").predict(data)


def asked(model, round_):
    ask()
    return model


def asked_elsewhere(model, round_):
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return model


other = xgb.Booster(settings | {"seed": 7}, [data])


def by_turns(model, round_):
    other.update(data, round_ - 1)
    return model


def saved_and_loaded(model, round_):
    if round_ != 4:
        return model
    model.save_model("model.ubj")
    return xgb.Booster(settings, [data], model_file="model.ubj")


alone = train()
alone.save_model("baseline.ubj")
show("alone", alone)
show("a loaded model predicts before each further round", train(asked))
show("the same in another thread", train(asked_elsewhere))
show("by turns with a model of another seed", train(by_turns))
show("saved and loaded after four rounds", train(saved_and_loaded))
PROGRAM
cmp - said <<'EXPECTED'
alone: ABCDEFGH
a loaded model predicts before each further round: AIIIIIII
the same in another thread: ABCDEFGH
by turns with a model of another seed: AJKLMNOP
saved and loaded after four rounds: ABCDABCD
EXPECTED

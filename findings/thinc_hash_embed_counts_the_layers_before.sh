#!/usr/bin/env bash
# thinc 8.3.14, numpy 2.4.6 (Python 3.11): equal HashEmbed layers share other rows, by how many layers were made before.
#
# HashEmbed gives each word four rows of a table by a hash. Without seed= the seed of that hash is the layer's id, which
# counts the layers that the process has made, of any kind: fix_random_seed() does not put it back. So the second of two
# equal trainings in one process, a training after another model was built, and ranks that built something else, have
# words that share other rows, and other losses, though each begins with the same numbers. Numbers that are moved into a
# new model, by get_param() and set_param(), belong to other words there. to_bytes() and from_bytes() keep the seed.
# HashEmbed(..., seed=) mends it; spaCy's own architectures give one.
#
# What it prints: what equals that of the first model.
#   a second model: table True, rows of the words False, output after the same training False
#   trained numbers: moved False, loaded True
#   with a seed: rows of the words True, output after the same training True
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 thinc==8.3.14

cd "$work"
cat >program.py <<'PROGRAM'
import numpy as np
from thinc.api import Adam, HashEmbed, Linear, Softmax, chain, fix_random_seed

words = np.arange(40, dtype=np.uint64)
labels = np.eye(2, dtype=np.float32)[np.arange(40) % 2]


def build(**settings):
    fix_random_seed(0)
    model = chain(HashEmbed(8, 20, **settings), Softmax(2))
    model.initialize(X=words, Y=labels)
    return model


def train(model):
    optimizer = Adam(0.01)
    for _ in range(20):
        guessed, backward = model.begin_update(words)
        backward(guessed - labels)
        model.finish_update(optimizer)
    return model.predict(words)


def equal(one, other):
    return bool(np.array_equal(one, other))


first, second = build(), build()
tables = [model.layers[0].get_param("E") for model in (first, second)]
taken = [model.layers[0].predict(words) for model in (first, second)]
print(f"a second model: table {equal(*tables)}, rows of the words {equal(*taken)}", end=", ")
trained = train(first)
print(f"output after the same training {equal(trained, train(second))}")
moved = build()
for one, other in zip(first.walk(), moved.walk(), strict=True):
    for name in one.param_names:
        other.set_param(name, one.get_param(name))
loaded = build().from_bytes(first.to_bytes())
print(f"trained numbers: moved {equal(trained, moved.predict(words))}, loaded {equal(trained, loaded.predict(words))}")
one = build(seed=1)
Linear(1, 1)
other = build(seed=1)
taken = [model.layers[0].predict(words) for model in (one, other)]
print(f"with a seed: rows of the words {equal(*taken)}", end=", ")
print(f"output after the same training {equal(train(one), train(other))}")
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
a second model: table True, rows of the words False, output after the same training False
trained numbers: moved False, loaded True
with a seed: rows of the words True, output after the same training True
EXPECTED

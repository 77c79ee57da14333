#!/usr/bin/env bash
# datasets 5.2.0, numpy 2.4.6 (Python 3.11): which random numbers a row of a stream has depends on how fast shards are read.
#
# interleave_datasets() of streams asks each of them for its next row ahead, on a thread of its own
# (RandomlyCyclingMultiSourcesExamplesIterable in datasets/iterable_dataset.py). So what a map() or a generator function
# draws from numpy.random, random or torch it draws on threads that race for the one global generator: the rows come in
# the seeded order, and which of them gets which number is decided by which stream is read faster, as of a slower disk or
# a busy machine. So does shuffle(buffer_size=...) of one stream with several shards, which it interleaves to fill its
# buffer: of the usual map(augment).shuffle(buffer_size=1000) the draws race. Of equally fast streams this hardly shows,
# and a test with small data passes. concatenate_datasets() reads one after the other. Draw after interleaving and
# shuffling, or from a generator that is made of the row, such as default_rng([seed, row["id"]]).
#
# What it prints: two streams (or shards) of six rows, numpy.random seeded with 0, each row with a number that it draws;
# twice with the first stream slower than the second, by 50 ms a row, and once with the second slower.
#   interleaved: the same rows True, the same numbers True on the same pace, False where the other stream is slower
#   with probabilities: the same rows True, the same numbers True on the same pace, False where the other stream is slower
#   shuffled: the same rows True, the same numbers True on the same pace, False where the other stream is slower
#   concatenated: the same rows True, the same numbers True on the same pace, True where the other stream is slower
#   a generator of the row's own: the same rows True, the same numbers True on the same pace, True where the other stream is slower
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1 datasets==5.2.0

cd "$work"
cat >program.py <<'PROGRAM'
import time
from functools import partial

import numpy as np
from datasets import IterableDataset, concatenate_datasets, interleave_datasets


def read(shards):
    for start, pause in shards:
        for number in range(start, start + 6):
            time.sleep(pause)
            yield {"row": number}


def draw(row):
    return {**row, "number": float(np.random.random())}


def draw_own(row):
    return {**row, "number": float(np.random.default_rng([0, row["row"]]).random())}


def stream(draw, shards):
    return IterableDataset.from_generator(read, gen_kwargs={"shards": shards}).map(draw)


def run(join, draw, *pauses):
    np.random.seed(0)
    shards = [*zip((0, 100), pauses, strict=True)]
    found = list(join([stream(draw, [shard]) for shard in shards]) if join else shuffled(stream(draw, shards)))
    return [one["row"] for one in found], [one["number"] for one in found]


def shuffled(one):
    return one.shuffle(seed=1, buffer_size=4)


def show(name, join, draw=draw):
    rows, numbers = run(join, draw, 0.05, 0)
    again = run(join, draw, 0.05, 0)
    other_rows, other_numbers = run(join, draw, 0, 0.05)
    print(
        f"{name}: the same rows {rows == again[0] == other_rows}, the same numbers {numbers == again[1]} on the same "
        f"pace, {numbers == other_numbers} where the other stream is slower"
    )


show("interleaved", interleave_datasets)
show("with probabilities", partial(interleave_datasets, probabilities=[0.5, 0.5], seed=1))
show("shuffled", None)
show("concatenated", concatenate_datasets)
show("a generator of the row's own", interleave_datasets, draw_own)
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
interleaved: the same rows True, the same numbers True on the same pace, False where the other stream is slower
with probabilities: the same rows True, the same numbers True on the same pace, False where the other stream is slower
shuffled: the same rows True, the same numbers True on the same pace, False where the other stream is slower
concatenated: the same rows True, the same numbers True on the same pace, True where the other stream is slower
a generator of the row's own: the same rows True, the same numbers True on the same pace, True where the other stream is slower
EXPECTED

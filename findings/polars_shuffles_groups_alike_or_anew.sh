#!/usr/bin/env bash
# polars 2.1.0 (Python 3.11): a seeded shuffle within groups gives all groups one order, and an unseeded one never repeats.
#
# shuffle(seed=1).over("g") starts from the seed again in each group, so groups of one size are all put into the same
# order: a draw of k rows for each class, or for each user, takes the rows at the same places everywhere, which are of
# the same days where the rows go by time. So does group_by("g").agg(shuffle(seed=1)), and sample(..., seed=1). Without a
# seed the groups have orders of their own. pl.set_random_seed fixes these in group_by, but not with .over, also with one
# thread. What is left is group_by without a seed after pl.set_random_seed, or a column of random keys to sort by.
#
# What it prints, of 8 groups of 12 rows: how many results twenty equal calls gave, and how many orders one of them has.
#   over, seed=1: results 1, orders 1
#   over, after set_random_seed(1): results more, orders 8
#   group_by, seed=1: results 1, orders 1
#   group_by, after set_random_seed(1): results 1, orders 8
#   sample(3, seed=1) in group_by: results 1, orders 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0

cd "$work"
POLARS_MAX_THREADS=1 "$work/venv/bin/python" - <<'PROGRAM' | tee said
import polars as pl

frame = pl.DataFrame({"g": [row // 12 for row in range(96)], "x": [row % 12 for row in range(96)]})


def over(drawn):
    return frame.select("g", drawn.over("g")).group_by("g", maintain_order=True).agg("x")


def group_by(drawn):
    return frame.group_by("g", maintain_order=True).agg(drawn)


def show(name, way, drawn):
    results = []
    for _ in range(20):
        pl.set_random_seed(1)
        results.append(tuple(map(tuple, way(drawn)["x"])))
    found = len(set(results))
    print(f"{name}: results {found if found == 1 else 'more'}, orders {len(set(results[0]))}")


x = pl.col("x")
show("over, seed=1", over, x.shuffle(seed=1))
show("over, after set_random_seed(1)", over, x.shuffle())
show("group_by, seed=1", group_by, x.shuffle(seed=1))
show("group_by, after set_random_seed(1)", group_by, x.shuffle())
show("sample(3, seed=1) in group_by", group_by, x.sample(3, seed=1))
PROGRAM
cmp - said <<'EXPECTED'
over, seed=1: results 1, orders 1
over, after set_random_seed(1): results more, orders 8
group_by, seed=1: results 1, orders 1
group_by, after set_random_seed(1): results 1, orders 8
sample(3, seed=1) in group_by: results 1, orders 1
EXPECTED

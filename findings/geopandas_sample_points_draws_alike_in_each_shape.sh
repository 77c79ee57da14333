#!/usr/bin/env bash
# geopandas 1.2.0, shapely 2.2.0, numpy 2.4.6 (Python 3.11): with a seed, each shape gets the same points.
#
# sample_points(rng=) hands the seed to each geometry in turn, and each makes a generator of its own from it
# (geopandas/tools/_random.py): all boxes have one pattern of points, moved and scaled, and equal fractions along all
# lines. Points of neighbouring cells that should be independent are the same draws, so a sample of many cells is as
# rich as that of one, and training and test regions share theirs. Without a seed, and with a Generator, the points are
# independent; a Generator repeats as well as a seed does. Hand numpy.random.default_rng(seed) over, not seed.
#
# What it prints: of a hundred cells of a grid with four points each, and of a hundred lines, how many different
# patterns there are, relative to the cell's corner or the line's length.
#   cells: seed 1, Generator 100, none 100
#   lines: seed 1, Generator 100, none 100
#   two calls, each with a Generator of seed 1: equal
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 pandas==3.1.1 shapely==2.2.0 geopandas==1.2.0

cd "$work"
cat >program.py <<'PROGRAM'
import geopandas as gpd
import numpy as np
import shapely

corners = [(right, up) for right in range(10) for up in range(10)]
cells = gpd.GeoSeries([shapely.box(x, y, x + 1, y + 1) for x, y in corners])
lines = gpd.GeoSeries([shapely.LineString([(x, y), (x + 1 + y, y)]) for x, y in corners])


def patterns(shapes, **settings):
    found = set()
    for shape, points in zip(shapes, shapes.sample_points(4, **settings), strict=True):
        left, low, right, _ = shape.bounds
        places = (shapely.get_coordinates(points) - (left, low)) / (right - left)
        found.add(tuple(sorted(map(tuple, places.round(6).tolist()))))
    return len(found)


for name, shapes in {"cells": cells, "lines": lines}.items():
    print(f"{name}: seed {patterns(shapes, rng=1)}", end=", ")
    print(f"Generator {patterns(shapes, rng=np.random.default_rng(1))}, none {patterns(shapes)}")
one, other = (cells.sample_points(4, rng=np.random.default_rng(1)) for _ in range(2))
print(f"two calls, each with a Generator of seed 1: {'equal' if one.geom_equals(other).all() else 'different'}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
cells: seed 1, Generator 100, none 100
lines: seed 1, Generator 100, none 100
two calls, each with a Generator of seed 1: equal
EXPECTED

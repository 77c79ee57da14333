#!/usr/bin/env bash
# rasterio 1.4.4, numpy 2.4.6 (Python 3.11): a window of a warped image has other pixels than the same part of the
# whole.
#
# WarpedVRT gives an image in another coordinate system, and read(window=) a part of it, as samplers of training patches
# do. GDAL computes some places of the source, to within tolerance=0.125 of a pixel interpolates between them, and takes
# the width of the resampling kernel from the ratio of the two images' sizes: both follow what is read at once. So the
# value of one place is another one in each window. With nearest neighbours some pixels are those beside them; with
# bilinear and cubic all values differ, for the white noise below by more than 0.2 of its standard deviation. Random
# windows are not cut from one image, and predictions that are put together from tiles follow the tiling.
# rasterio.warp.reproject() of the same array follows warp_mem_limit in this way, by which large images are split, too.
# The manual of terra, which warps by GDAL, too, says that XSCALE and YSCALE, the two ratios, are computed for each
# chunk. tolerance=0 mends nearest neighbours; with XSCALE=1 and YSCALE=1 besides, the windows of the others are parts
# of the whole.
#
# What it prints: how much of three windows differs from the same part of the whole, and by how much; then the same for
# an array that is warped with warp_mem_limit=1 and by default.
#   nearest: less than a tenth by up to 1 and more
#       tolerance=0: nothing; XSCALE, YSCALE: less than a tenth by up to 1 and more
#       both: nothing; warp_mem_limit=1: less than a tenth by up to 1 and more
#   bilinear: over nine tenths by up to 0.2 and more
#       tolerance=0: over nine tenths by up to 0.2 and more; XSCALE, YSCALE: over nine tenths by up to 0.2 and more
#       both: nothing; warp_mem_limit=1: over nine tenths by up to 0.2 and more
#   cubic: over nine tenths by up to 0.2 and more
#       tolerance=0: over nine tenths by up to 0.2 and more; XSCALE, YSCALE: over nine tenths by up to 0.2 and more
#       both: nothing; warp_mem_limit=1: over nine tenths by up to 0.2 and more
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 rasterio==1.4.4

cd "$work"
cat >program.py <<'PROGRAM'
import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, reproject
from rasterio.windows import Window

down, right = 600, 700
image = np.random.default_rng(0).normal(size=(down, right)).astype(np.float32)
crs, bounds = "EPSG:4326", (10, 45, 16, 50)
form = {"driver": "GTiff", "height": down, "width": right, "count": 1, "dtype": "float32"}
place = {"crs": crs, "transform": from_bounds(*bounds, right, down)}
with rasterio.open("image.tif", "w", **form, **place) as file:
    file.write(image, 1)
windows = (Window(100, 100, 64, 64), Window(300, 200, 128, 128), Window(257, 130, 100, 50))


def told(pairs):
    apart = np.concatenate([np.abs(one - other).ravel() for one, other in pairs])
    if not apart.any():
        return "nothing"
    share = "over nine tenths" if np.mean(apart > 0) > 0.9 else "less than a tenth"
    return f"{share} by up to {'1 and more' if apart.max() > 1 else '0.2 and more' if apart.max() > 0.2 else 'less'}"


def read(method, **settings):
    with rasterio.open("image.tif") as source:
        with WarpedVRT(source, crs="EPSG:3035", resampling=method, **settings) as warped:
            whole = warped.read(1)
            return [(warped.read(1, window=window), whole[window.toslices()]) for window in windows]


def arrays(method):
    transform, width, height = calculate_default_transform(crs, "EPSG:3035", right, down, *bounds)
    made = [np.zeros((height, width), np.float32) for _ in range(2)]
    to = {"src_transform": place["transform"], "src_crs": crs, "dst_transform": transform, "dst_crs": "EPSG:3035"}
    for into, limit in zip(made, (0, 1), strict=True):
        reproject(image, into, resampling=method, warp_mem_limit=limit, **to)
    return [made]


scale = {"XSCALE": 1, "YSCALE": 1}
for method in (Resampling.nearest, Resampling.bilinear, Resampling.cubic):
    print(f"{method.name}: {told(read(method))}")
    print(f"    tolerance=0: {told(read(method, tolerance=0))}; XSCALE, YSCALE: {told(read(method, **scale))}")
    print(f"    both: {told(read(method, tolerance=0, **scale))}; warp_mem_limit=1: {told(arrays(method))}")
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
nearest: less than a tenth by up to 1 and more
    tolerance=0: nothing; XSCALE, YSCALE: less than a tenth by up to 1 and more
    both: nothing; warp_mem_limit=1: less than a tenth by up to 1 and more
bilinear: over nine tenths by up to 0.2 and more
    tolerance=0: over nine tenths by up to 0.2 and more; XSCALE, YSCALE: over nine tenths by up to 0.2 and more
    both: nothing; warp_mem_limit=1: over nine tenths by up to 0.2 and more
cubic: over nine tenths by up to 0.2 and more
    tolerance=0: over nine tenths by up to 0.2 and more; XSCALE, YSCALE: over nine tenths by up to 0.2 and more
    both: nothing; warp_mem_limit=1: over nine tenths by up to 0.2 and more
EXPECTED

#!/usr/bin/env bash
# xarray 2026.9.0, netCDF4 1.7.5.1.post1, numpy 2.4.6 (Python 3.11): two files that are joined and saved come back with
# values that are tens of degrees off.
#
# Archives of weather keep their numbers in 16 bits, with a scale and an offset of their own in each file. A variable that
# was read keeps these two in its encoding, and xr.concat, combine_by_coords, a slice, a shift and values that are written
# in place keep those of the first file. to_netcdf packs by them, and what lies outside of the 65,536 steps is wrapped
# around: a warm month that is put behind a cool one comes back as a cool one, with no warning and no NaN. In memory all is
# right, so a training before the file was written saw other data than the one after it. Arithmetic drops the encoding,
# and then nothing is packed. variable.encoding.clear(), or drop_encoding(), before saving mends it.
#
# What it prints: the largest value and the largest change by saving and loading, in kelvin.
#   each file by itself: largest 318, changed by less than 0.001
#   concat: largest 318 before and 286 after, changed by more than 39
#   combine_by_coords: largest 318 before and 286 after, changed by more than 39
#   concat, drop_encoding: largest 318 before and 318 after, changed by less than 0.001
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pandas==3.1.1 xarray==2026.9.0 \
    netCDF4==1.7.5.1.post1

cd "$work"
"$work/venv/bin/python" -W error::UserWarning -W error::RuntimeWarning - <<'PROGRAM' | tee said
import numpy as np
import xarray as xr

rng = np.random.default_rng(0)
days = np.arange(100)
cool = xr.Dataset({"t": ("day", rng.normal(280, 2, 100))}, {"day": days})
warm = xr.Dataset({"t": ("day", rng.normal(300, 10, 100))}, {"day": days + 100})


def saved(data, name, **packing):
    data.to_netcdf(name, encoding={"t": packing} if packing else None)
    with xr.open_dataset(name) as file:
        return file.load()


def largest(data):
    return f"{float(data.t.max()):.0f}"


def changed(before, after):
    off = float(abs(before.t - after.t).max())
    return "less than 0.001" if off < 0.001 else "more than 39" if off > 39 else off


packing = {"dtype": "int16", "_FillValue": -32768}
first = saved(cool, "first.nc", scale_factor=0.0002, add_offset=280.0, **packing)
second = saved(warm, "second.nc", scale_factor=0.001, add_offset=300.0, **packing)
whole = f"{changed(cool, first)}" if changed(cool, first) == changed(warm, second) else "?"
print(f"each file by itself: largest {largest(second)}, changed by {whole}")
joined = {
    "concat": xr.concat([first, second], "day"),
    "combine_by_coords": xr.combine_by_coords([first, second]),
    "concat, drop_encoding": xr.concat([first, second], "day").drop_encoding(),
}
for number, (name, data) in enumerate(joined.items()):
    after = saved(data, f"joined{number}.nc")
    print(f"{name}: largest {largest(data)} before and {largest(after)} after, changed by {changed(data, after)}")
PROGRAM
cmp - said <<'EXPECTED'
each file by itself: largest 318, changed by less than 0.001
concat: largest 318 before and 286 after, changed by more than 39
combine_by_coords: largest 318 before and 286 after, changed by more than 39
concat, drop_encoding: largest 318 before and 318 after, changed by less than 0.001
EXPECTED

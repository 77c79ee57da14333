#!/usr/bin/env bash
# astropy 8.0.2, numpy 2.4.6 (Python 3.11): a column of int8 comes back from a FITS table as True and False.
#
# A FITS table has no signed bytes; astropy declares such a column as logical, and each number but 0 is true from then
# on, in the HDU as soon as it is made and in the file: quantized features, labels and counts are gone. Neither
# Table.write nor BinTableHDU raises or warns (issue 11963 of astropy is open). int8 in a FITS image, the unsigned types
# and int16 come back as they were, and the same table is right in HDF5 and ECSV. Store int16, or a Column of format "B"
# with bzero=-128.
#
# What it prints: the numbers -5 3 0 127 after they were stored.
#   FITS, Table: bool True True False True
#   FITS, BinTableHDU, not written: bool True True False True
#   FITS, int16: int16 -5 3 0 127
#   FITS, uint8: uint8 5 3 0 127
#   FITS, image: int8 -5 3 0 127
#   FITS, Column with bzero: float64 -5.0 3.0 0.0 127.0
#   HDF5: int8 -5 3 0 127
#   ECSV: int8 -5 3 0 127
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 astropy==8.0.2 h5py==3.16.0 pyyaml==6.0.3

cd "$work"
cat >program.py <<'PROGRAM'
import warnings

import numpy as np
from astropy.io import fits
from astropy.table import Table

warnings.simplefilter("error")
numbers = np.array([-5, 3, 0, 127], np.int8)


def show(what, column):
    print(f"{what}: {np.asarray(column).dtype.newbyteorder('=')}", *np.asarray(column).tolist())


def through(name, table, **settings):
    table.write(name, **settings)
    return Table.read(name, **settings)["x"]


def image():
    fits.ImageHDU(numbers).writeto("image.fits")
    with fits.open("image.fits") as file:
        return file[1].data.copy()


def shifted():
    column = fits.Column("x", "B", bzero=-128, array=numbers)
    fits.BinTableHDU.from_columns([column]).writeto("shifted.fits")
    with fits.open("shifted.fits") as file:
        return file[1].data["x"].copy()


table = Table({"x": numbers})
show("FITS, Table", through("table.fits", table))
show("FITS, BinTableHDU, not written", fits.BinTableHDU(np.array(list(zip(numbers)), dtype=[("x", "i1")])).data["x"])
show("FITS, int16", through("wide.fits", Table({"x": numbers.astype(np.int16)})))
show("FITS, uint8", through("unsigned.fits", Table({"x": np.abs(numbers).astype(np.uint8)})))
show("FITS, image", image())
show("FITS, Column with bzero", shifted())
show("HDF5", through("table.hdf5", table, path="x"))
show("ECSV", through("table.ecsv", table))
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
FITS, Table: bool True True False True
FITS, BinTableHDU, not written: bool True True False True
FITS, int16: int16 -5 3 0 127
FITS, uint8: uint8 5 3 0 127
FITS, image: int8 -5 3 0 127
FITS, Column with bzero: float64 -5.0 3.0 0.0 127.0
HDF5: int8 -5 3 0 127
ECSV: int8 -5 3 0 127
EXPECTED

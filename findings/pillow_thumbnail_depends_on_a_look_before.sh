#!/usr/bin/env bash
# Pillow 13.0.0, numpy 2.4.6 (Python 3.11): the thumbnail of a JPEG file has other pixels if anybody looked at it before.
#
# Image.open reads no pixels yet. thumbnail() then lets the JPEG decoder make a smaller image in the first place, from
# fewer coefficients, and resizes that. Once the pixels are read this is not to be had, and it resizes the whole image.
# So a check for broken files by load(), a getpixel(), or convert("RGB") in front, changes a data set that is made of
# thumbnails: more than half of the values here, and they may come from one and the same line of code, run after
# another one. size, mode and getexif() read no pixels. thumbnail(..., reducing_gap=None) gives the same in each case.
#
# What it prints: of the values of a thumbnail, how many are those of the one made first, and the largest difference.
#   nothing before: 100 %, 0
#   getexif() before: 100 %, 0
#   getpixel((0, 0)) before: less than 60 %, more than 2
#   load() before: less than 60 %, more than 2
#   convert("RGB") before: less than 60 %, more than 2
#   the same with reducing_gap=None: 100 %, 0 each time
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import numpy as np
from PIL import Image

down, right = np.mgrid[:600, :800]
noise = np.random.default_rng(0).integers(0, 255, (600, 800))
colors = [127 + 100 * np.sin(right / 7 + down / 13), 127 + 100 * np.cos(right * down / 5000), noise]
Image.fromarray(np.stack(colors, axis=-1).astype(np.uint8)).save("image.jpg", quality=90)

looks = {
    "nothing": lambda image: image,
    "getexif()": lambda image: (image.getexif(), image)[1],
    "getpixel((0, 0))": lambda image: (image.getpixel((0, 0)), image)[1],
    "load()": lambda image: (image.load(), image)[1],
    'convert("RGB")': lambda image: image.convert("RGB"),
}


def thumbnail(look, **how):
    image = look(Image.open("image.jpg"))
    image.thumbnail((100, 100), **how)
    return np.asarray(image).astype(int)


def compared(look, **how):
    off = np.abs(thumbnail(look, **how) - thumbnail(looks["nothing"], **how))
    if not off.any():
        return "100 %, 0"
    same = np.mean(off == 0)
    return f"{'less than 60 %' if same < 0.6 else '60 % or more'}, {'more than 2' if off.max() > 2 else 'at most 2'}"


for name, look in looks.items():
    print(f"{name} before: {compared(look)}")
without = {compared(look, reducing_gap=None) for look in looks.values()}
print(f"the same with reducing_gap=None: {' or '.join(sorted(without))} each time")
PROGRAM
cmp - said <<'EXPECTED'
nothing before: 100 %, 0
getexif() before: 100 %, 0
getpixel((0, 0)) before: less than 60 %, more than 2
load() before: less than 60 %, more than 2
convert("RGB") before: less than 60 %, more than 2
the same with reducing_gap=None: 100 %, 0 each time
EXPECTED

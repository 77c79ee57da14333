#!/usr/bin/env bash
# soxr 1.1.0, numpy 2.4.6 (Python 3.11): 16-bit sound is resampled with noise, which follows the channel and the blocks.
#
# For int16, and for int16 alone, soxr adds a noise before it rounds: silence comes out as -1, 0 and 1. The generator
# begins alike in each call, but each channel has a seed of its own, and each block that a ResampleStream is given goes
# on otherwise. So a channel beside another one, or a clip in a batch that goes in as channels, comes out otherwise than
# alone; two equal channels come out different; a stream in blocks differs from the whole and with the length of the
# blocks; and a stream does not repeat after clear(), which is to make it new. float32, float64 and int32 have none of
# it. The docstrings do not tell of the noise. Resample float32 and round afterwards.
#
# What it prints: for each type, whether these are equal: the second of two equal channels and the first, a channel
# after another one and the same alone, a stream in blocks of 1000 and of 7 and the whole, a stream after clear() and
# before; and the values that silence takes.
#   int16: two alike False, beside another False, blocks of 1000 False, blocks of 7 False, after clear False; -1 0 1
#   int32: two alike True, beside another True, blocks of 1000 True, blocks of 7 True, after clear True; 0
#   float32: two alike True, beside another True, blocks of 1000 True, blocks of 7 True, after clear True; 0
#   float64: two alike True, beside another True, blocks of 1000 True, blocks of 7 True, after clear True; 0
#   int16, a whole call again: True; its samples that are not those of float64, rounded: more than a fourth
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 soxr==1.1.0

cd "$work"
cat >program.py <<'PROGRAM'
import numpy as np
import soxr

draws = np.random.default_rng(0)
sound, other = (draws.normal(size=(2, 48000)) * 3000).astype(np.int16)


def resample(given):
    return soxr.resample(given, 48000, 16000)


def stream(given, size, made=None):
    made = made or soxr.ResampleStream(48000, 16000, 1, dtype=given.dtype)
    blocks = [given[first : first + size] for first in range(0, len(given), size)]
    parts = [made.resample_chunk(block, last=block is blocks[-1]) for block in blocks]
    return np.concatenate(parts)


for kind in ("int16", "int32", "float32", "float64"):
    given, beside = sound.astype(kind), other.astype(kind)
    whole = resample(given)
    twice = resample(np.stack([given, given], 1))
    made = soxr.ResampleStream(48000, 16000, 1, dtype=kind)
    first = stream(given, len(given), made)
    made.clear()
    equal = {
        "two alike": np.array_equal(*twice.T),
        "beside another": np.array_equal(resample(np.stack([beside, given], 1))[:, 1], whole),
        "blocks of 1000": np.array_equal(stream(given, 1000), whole),
        "blocks of 7": np.array_equal(stream(given, 7), whole),
        "after clear": np.array_equal(stream(given, len(given), made), first),
    }
    silence = np.unique(resample(np.zeros(48000, kind)))
    print(f"{kind}:", ", ".join(f"{name} {so}" for name, so in equal.items()) + ";", *(int(value) for value in silence))
whole = resample(sound)
apart = np.mean(np.round(resample(sound.astype(float))) != whole)
said = "more than a fourth" if apart > 0.25 else "fewer"
again = np.array_equal(resample(sound), whole)
print(f"int16, a whole call again: {again}; its samples that are not those of float64, rounded: {said}")
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
int16: two alike False, beside another False, blocks of 1000 False, blocks of 7 False, after clear False; -1 0 1
int32: two alike True, beside another True, blocks of 1000 True, blocks of 7 True, after clear True; 0
float32: two alike True, beside another True, blocks of 1000 True, blocks of 7 True, after clear True; 0
float64: two alike True, beside another True, blocks of 1000 True, blocks of 7 True, after clear True; 0
int16, a whole call again: True; its samples that are not those of float64, rounded: more than a fourth
EXPECTED

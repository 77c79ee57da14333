#!/usr/bin/env bash
# soundfile 0.14.0, numpy 2.4.6 (Python 3.11): the same samples, written later, are another file in some formats.
#
# libsndfile puts a PEAK chunk before the samples of a WAV or AIFF file of floats, which holds the time of writing. An Ogg
# file begins with a serial number that is another one in each writing. So a preprocessing that is run again makes other
# checksums, and data sets that are told apart by the hashes of their files are other ones, though each sample is the
# same when it is read. WAV of integers, FLAC and RF64 repeat: hash what was decoded, or write one of these.
#
# What it prints, of the same tone written twice, more than a second apart:
#   WAV of integers: the same file, the same samples
#   WAV of floats: another file, the same samples
#   AIFF of floats: another file, the same samples
#   RF64 of floats: the same file, the same samples
#   FLAC: the same file, the same samples
#   Ogg Vorbis: another file, the same samples
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import io
import time

import numpy as np
import soundfile

tone = np.sin(np.arange(16000) / 50).astype(np.float32) / 2
formats = {
    "WAV of integers": ("WAV", "PCM_16"),
    "WAV of floats": ("WAV", "FLOAT"),
    "AIFF of floats": ("AIFF", "FLOAT"),
    "RF64 of floats": ("RF64", "FLOAT"),
    "FLAC": ("FLAC", "PCM_16"),
    "Ogg Vorbis": ("OGG", "VORBIS"),
}


def written():
    files = {}
    for name, (container, subtype) in formats.items():
        files[name] = io.BytesIO()
        soundfile.write(files[name], tone, 16000, format=container, subtype=subtype)
    return {name: file.getvalue() for name, file in files.items()}


first = written()
time.sleep(1.5)
again = written()
for name in formats:
    file = "the same file" if first[name] == again[name] else "another file"
    read, read_again = (soundfile.read(io.BytesIO(one[name]))[0].tobytes() for one in (first, again))
    print(f"{name}: {file}, {'the same' if read == read_again else 'other'} samples")
PROGRAM
cmp - said <<'EXPECTED'
WAV of integers: the same file, the same samples
WAV of floats: another file, the same samples
AIFF of floats: another file, the same samples
RF64 of floats: the same file, the same samples
FLAC: the same file, the same samples
Ogg Vorbis: another file, the same samples
EXPECTED

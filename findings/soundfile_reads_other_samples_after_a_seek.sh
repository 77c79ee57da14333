#!/usr/bin/env bash
# soundfile 0.14.0 with its libsndfile 1.2.2, librosa 0.11.0, numpy 2.4.6 (Python 3.11): a part of an MP3 file begins
# with silence where the whole file has a tone, and a part of an Ogg file is another part.
#
# What a frame of MP3 says can begin some frames earlier, and after a seek the decoder has not read those: it gives
# zeros or other samples, for the tone below a quarter of a second of them. read(start=) seeks, and so does read() of
# frames after each call, for the place where a write would go on: a file that is read in blocks is another one than the
# file that is read at once. librosa.load(offset=) and librosa.stream() do the same. It depends on what is heard: noise
# comes out right, steady tones suffer most. In Ogg Vorbis, a seek that follows a read gives a place 128 frames earlier,
# or other samples at first (issue 885 of libsndfile is open); one in a file that was just opened is right, so a crop
# depends on the crop before it. Nothing is raised; the MP3 decoder may print "part2_3_length too large" to stderr. FLAC
# is right. Read whole files and cut them, or store FLAC.
#
# What it prints: how a second of sound, from the third second on, differs from that of the whole file, and blocks from
# the whole; for Ogg the read after a seek, in a file opened anew and in one of which one frame was read.
#   MP3, tone: start= 0.1 and more, its first 2000 frames silence, blocks of 1024 and of 4000 differ by 0.1 and more
#   MP3, strings: start= 0.1 and more, blocks of 1024 and of 4000 differ by 0.1 and more
#   MP3, noise: start= 0, blocks of 4000 differ by 0
#   MP3, librosa: offset= 0.1 and more, stream 0.1 and more
#   FLAC, tone: start= 0, blocks of 1024 differ by 0
#   Ogg, noise: a first seek 0, one after a read 0.1 and more, against 128 frames earlier 0
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0 librosa==0.11.0

cd "$work"
cat >program.py <<'PROGRAM'
import librosa
import numpy as np
import soundfile

rate = 16000
time = np.arange(6 * rate) / rate
tone = 0.3 * np.sin(2 * np.pi * 440 * time)
strings = sum(0.1 * np.sin(2 * np.pi * pitch * time) for pitch in (220, 330, 441, 550)) * np.exp(-(time * 3 % 1) * 3)
noise = 0.1 * np.random.default_rng(0).normal(size=time.size)
start = 2 * rate


def file(name, sound):
    soundfile.write(name, sound, rate)
    return soundfile.read(name, dtype="float32")[0]


def off(part, due):
    error = np.abs(part - due).max()
    return "0" if error < 1e-3 else "0.1 and more" if error > 0.1 else "some"


def crop(name):
    return soundfile.read(name, start=start, frames=rate, dtype="float32")[0]


def blocks(name, size):
    return np.concatenate(list(soundfile.blocks(name, blocksize=size, dtype="float32")))


whole = file("tone.mp3", tone)
due = whole[start : start + rate]
silent = "silence" if np.abs(crop("tone.mp3")[:2000]).max() < 1e-6 < 0.2 < np.abs(due[:2000]).max() else "sound"
both = {off(blocks("tone.mp3", size), whole) for size in (1024, 4000)}
said = f"blocks of 1024 and of 4000 differ by {both.pop()}"
print(f"MP3, tone: start= {off(crop('tone.mp3'), due)}, its first 2000 frames {silent}, {said}")

rest = file("strings.mp3", strings)
both = {off(blocks("strings.mp3", size), rest) for size in (1024, 4000)}
said = f"blocks of 1024 and of 4000 differ by {' or '.join(sorted(both))}"
print(f"MP3, strings: start= {off(crop('strings.mp3'), rest[start : start + rate])}, {said}")

rest = file("noise.mp3", noise)
said = f"blocks of 4000 differ by {off(blocks('noise.mp3', 4000), rest)}"
print(f"MP3, noise: start= {off(crop('noise.mp3'), rest[start : start + rate])}, {said}")

part = librosa.load("tone.mp3", sr=None, offset=2.0, duration=1.0)[0]
stream = np.concatenate(list(librosa.stream("tone.mp3", block_length=4, frame_length=512, hop_length=512)))
print(f"MP3, librosa: offset= {off(part, due)}, stream {off(stream, whole[: len(stream)])}")

rest = file("tone.flac", tone)
said = f"blocks of 1024 differ by {off(blocks('tone.flac', 1024), rest)}"
print(f"FLAC, tone: start= {off(crop('tone.flac'), rest[start : start + rate])}, {said}")

rest = file("noise.ogg", noise)
with soundfile.SoundFile("noise.ogg") as opened:
    opened.read(1)
    opened.seek(start)
    after = opened.read(rate, dtype="float32")
said = f"one after a read {off(after, rest[start : start + rate])}"
said += f", against 128 frames earlier {off(after, rest[start - 128 : start - 128 + rate])}"
print(f"Ogg, noise: a first seek {off(crop('noise.ogg'), rest[start : start + rate])}, {said}")
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
MP3, tone: start= 0.1 and more, its first 2000 frames silence, blocks of 1024 and of 4000 differ by 0.1 and more
MP3, strings: start= 0.1 and more, blocks of 1024 and of 4000 differ by 0.1 and more
MP3, noise: start= 0, blocks of 4000 differ by 0
MP3, librosa: offset= 0.1 and more, stream 0.1 and more
FLAC, tone: start= 0, blocks of 1024 differ by 0
Ogg, noise: a first seek 0, one after a read 0.1 and more, against 128 frames earlier 0
EXPECTED

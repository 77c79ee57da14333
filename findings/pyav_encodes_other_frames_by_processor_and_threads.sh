#!/usr/bin/env bash
# PyAV 18.1.0, numpy 2.4.6 (Python 3.11, x86): the frames that a video keeps follow the processor and the number of
# threads.
#
# libx264 decides by what the processor computes, with other instructions otherwise, and by how many threads there are,
# which are by default as many as the processors; so does MPEG-4 by the threads. Equal frames with equal settings that
# are encoded on another machine, or in a container with fewer processors, decode to other pixels: a data set that is
# stored as video is another one where it was built elsewhere. The option
# x264-params cpu-independent=1 makes it the same for all instructions and codec_context.thread_count = 1 for all numbers
# of processors; FFV1 stores frames without loss.
#
# What it prints: whether frames are equal that libx264 encoded with SSE2 and with SSE4.2, by default and with
# cpu-independent, and with one and four threads; how many different videos 1, 2, 3, 4 and 8 threads make with MPEG-4
# and FFV1; and whether the default is that of one thread once the process is bound to one processor.
#   libx264, SSE2 and SSE4.2: equal False; with cpu-independent=1: equal True
#   libx264, one thread twice: equal True; one thread and four: equal False
#   mpeg4: different videos 5, each repeats True
#   ffv1: different videos 1, each repeats True
#   mpeg4, by default on one processor: that of one thread True, that of four False
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 av==18.1.0

cd "$work"
cat >program.py <<'PROGRAM'
import io
import os
from fractions import Fraction

import av
import numpy as np

draws = np.random.default_rng(0)
down, right = np.arange(144)[:, None], np.arange(192)
waves = [128 + 60 * np.sin(down / 9 + at / 5) + 60 * np.cos(right / 7 - at / 4) for at in range(40)]
frames = [np.clip(wave + draws.normal(size=wave.shape) * 8, 0, 255).astype(np.uint8) for wave in waves]


def video(codec, threads=None, **params):
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 144, "yuv420p"
        if params:
            said = ":".join(f"{name.replace('_', '-')}={value}" for name, value in params.items())
            stream.options = {"x264-params": said}
        if threads:
            stream.codec_context.thread_count = threads
        for at, frame in enumerate(frames):
            given = av.VideoFrame.from_ndarray(frame, format="gray").reformat(format="yuv420p")
            given.pts, given.time_base = at, Fraction(1, 25)
            container.mux(stream.encode(given))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return b"".join(frame.to_ndarray(format="gray").tobytes() for frame in container.decode(video=0))


plain, more = "MMX2,SSE,SSE2Fast", "MMX2,SSE,SSE2Fast,SSSE3,SSE4.2"
print(f"libx264, SSE2 and SSE4.2: equal {video('libx264', 1, asm=plain) == video('libx264', 1, asm=more)}", end="; ")
same = [video("libx264", 1, asm=asm, cpu_independent=1) for asm in (plain, more)]
print(f"with cpu-independent=1: equal {same[0] == same[1]}")
held = [video("libx264", threads, asm=plain, cpu_independent=1) for threads in (1, 1, 4)]
print(f"libx264, one thread twice: equal {held[0] == held[1]}; one thread and four: equal {held[0] == held[2]}")
for codec in ("mpeg4", "ffv1"):
    made = {threads: video(codec, threads) for threads in (1, 2, 3, 4, 8)}
    repeats = all(video(codec, threads) == one for threads, one in made.items())
    print(f"{codec}: different videos {len(set(made.values()))}, each repeats {repeats}")
four = video("mpeg4", 4)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(f"mpeg4, by default on one processor: that of one thread {video('mpeg4') == video('mpeg4', 1)}", end=", ")
print(f"that of four {video('mpeg4') == four}")
PROGRAM
"$work/venv/bin/python" program.py | tee said
cmp - said <<'EXPECTED'
libx264, SSE2 and SSE4.2: equal False; with cpu-independent=1: equal True
libx264, one thread twice: equal True; one thread and four: equal False
mpeg4: different videos 5, each repeats True
ffv1: different videos 1, each repeats True
mpeg4, by default on one processor: that of one thread True, that of four False
EXPECTED

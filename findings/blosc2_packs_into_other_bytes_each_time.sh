#!/usr/bin/env bash
# blosc2 4.14.1, numcodecs 0.16.6, numpy 2.4.6 (Python 3.11): compressing the same array gives other bytes in each call.
#
# Blosc cuts a buffer into blocks, its threads compress them side by side, and a block is put into the result when it is
# done; a table at the start says where each one lies. So the bytes follow the timing, while what they unpack to is the
# same. There are as many threads as processors if nobody asks for another number. Chunks of an array store and tensors
# in pack_tensor() therefore have other checksums in each writing; with one thread they repeat.
#
# What it prints: how many different results twelve equal calls gave, and how many different arrays those unpack to.
#   two threads: blosc2.pack_tensor more, arrays 1; blosc2.compress2 more, arrays 1; numcodecs.Blosc more, arrays 1
#   one thread: blosc2.pack_tensor 1, arrays 1; blosc2.compress2 1, arrays 1; numcodecs.Blosc 1, arrays 1
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 blosc2==4.14.1 numcodecs==0.16.6

cd "$work"
"$work/venv/bin/python" - <<'PROGRAM' | tee said
import blosc2
import numcodecs.blosc
import numpy as np

array = np.cumsum(np.random.default_rng(0).integers(0, 9, 4_000_000)).astype(np.int32)
codec = numcodecs.Blosc()
ways = {
    "blosc2.pack_tensor": (blosc2.pack_tensor, blosc2.unpack_tensor),
    "blosc2.compress2": (blosc2.compress2, blosc2.decompress2),
    "numcodecs.Blosc": (codec.encode, codec.decode),
}


def results(pack, unpack):
    packed = {bytes(pack(array)) for _ in range(12)}
    arrays = {np.asarray(memoryview(unpack(one))).tobytes() for one in packed}
    return f"{1 if len(packed) == 1 else 'more'}, arrays {len(arrays)}"


for name, threads in (("two threads", 2), ("one thread", 1)):
    blosc2.set_nthreads(threads)
    numcodecs.blosc.set_nthreads(threads)
    print(f"{name}: " + "; ".join(f"{way} {results(*pair)}" for way, pair in ways.items()))
PROGRAM
cmp - said <<'EXPECTED'
two threads: blosc2.pack_tensor more, arrays 1; blosc2.compress2 more, arrays 1; numcodecs.Blosc more, arrays 1
one thread: blosc2.pack_tensor 1, arrays 1; blosc2.compress2 1, arrays 1; numcodecs.Blosc 1, arrays 1
EXPECTED

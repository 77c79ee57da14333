#!/usr/bin/env bash
# torch 2.13.0 (CPU), safetensors 0.8.0, numpy 2.4.6 (Python 3.11): a conjugate that was saved, or that a worker sent,
# comes back as what it is the conjugate of.
#
# conj() flips no sign: it sets a bit of the tensor and shares the memory, and so does the imaginary part of a conjugate
# with a bit for "negative". Who copies the memory alone has the other sign. safetensors does (issue 831 of theirs is
# open), torch.export.save() does with parameters and buffers, a loader's worker and a queue between processes do, and
# numpy.from_dlpack() does with the imaginary part, while it refuses the conjugate. Nothing is raised or logged; shapes,
# types and norms are right. One need not call conj() for it: mH and adjoint(), V of torch.svd() and of svd_lowrank(),
# torch.fft.ihfft() and the gradient of a conjugated parameter carry the bit, nn.Parameter() keeps it. torch.save(),
# torch.distributed.checkpoint and a loader without workers keep the value. resolve_conj().resolve_neg(), or clone(),
# before a tensor leaves makes it right everywhere.
#
# What it prints: which tensors carry the bit, and whether a conjugate and its imaginary part equal what was given.
#   carry the bit: mH True, V of svd True, V of svd_lowrank True, ihfft True, a gradient True, a parameter True
#   torch.save: conjugate equal, imaginary part equal
#   torch.distributed.checkpoint: conjugate equal, imaginary part equal
#   safetensors: conjugate of the other sign, imaginary part of the other sign
#   torch.export: conjugate equal, imaginary part equal
#   torch.export, saved and loaded: conjugate of the other sign, imaginary part of the other sign
#   loader without workers: conjugate equal, imaginary part equal
#   loader with a worker: conjugate of the other sign, imaginary part of the other sign
#   queue: conjugate of the other sign, imaginary part of the other sign
#   numpy.from_dlpack: conjugate BufferError, imaginary part of the other sign
#   safetensors after clone: conjugate equal, imaginary part equal
#
# Exits with 0 as long as it is so.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 safetensors==0.8.0

cd "$work"
cat >program.py <<'PROGRAM'
import io

import numpy as np
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp

torch.manual_seed(0)
made = torch.randn(3, 3, dtype=torch.complex64)
weight = torch.nn.Parameter(made.clone())
(weight.conj() * made).real.sum().backward()
carry = {
    "mH": made.mH,
    "V of svd": torch.svd(made)[2],
    "V of svd_lowrank": torch.svd_lowrank(made)[2],
    "ihfft": torch.fft.ihfft(made.real),
    "a gradient": weight.grad,
    "a parameter": torch.nn.Parameter(made.conj()),
}
print("carry the bit:", ", ".join(f"{name} {one.is_conj()}" for name, one in carry.items()))

given = {
    "conjugate": torch.complex(torch.tensor([1.0]), torch.tensor([2.0])).conj(),
    "imaginary part": torch.complex(torch.tensor([3.0]), torch.tensor([4.0])).conj().imag,
}


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("a", given["conjugate"])
        self.register_buffer("b", given["imaginary part"])

    def forward(self, one):
        return self.a * one, self.b * one


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return len(given)

    def __getitem__(self, index):
        return list(given.values())[index]


def saved():
    torch.save(list(given.values()), file := io.BytesIO())
    file.seek(0)
    return torch.load(file)


def checkpoint():
    dcp.save(dict(given), checkpoint_id="checkpoint", no_dist=True)
    into = {name: torch.zeros(1, dtype=one.dtype) for name, one in given.items()}
    dcp.load(into, checkpoint_id="checkpoint", no_dist=True)
    return list(into.values())


def safe(change=lambda one: one):
    one_by_one = (safetensors.torch.save({"x": change(one)}) for one in given.values())
    return [safetensors.torch.load(file)["x"] for file in one_by_one]


one = torch.ones(1)
program = torch.export.export(Module(), (one,))


def export():
    torch.export.save(program, "program.pt2")
    return torch.export.load("program.pt2").module()(one)


def loaded(workers):
    return list(torch.utils.data.DataLoader(Rows(), batch_size=None, num_workers=workers))


def queued():
    queue = torch.multiprocessing.get_context("fork").Queue()
    for sent in given.values():
        queue.put(sent)
    return [queue.get() for _ in given]


def lent():
    for sent in given.values():
        try:
            yield torch.from_numpy(np.from_dlpack(sent).copy())
        except BufferError:
            yield None


def told(got, due):
    if got is None:
        return "BufferError"
    other = due.resolve_conj().conj_physical() if due.is_complex() else -due
    return "equal" if torch.equal(got, due) else "of the other sign" if torch.equal(got, other) else "something else"


ways = {
    "torch.save": saved,
    "torch.distributed.checkpoint": checkpoint,
    "safetensors": safe,
    "torch.export": lambda: program.module()(one),
    "torch.export, saved and loaded": export,
    "loader without workers": lambda: loaded(0),
    "loader with a worker": lambda: loaded(1),
    "queue": queued,
    "numpy.from_dlpack": lent,
    "safetensors after clone": lambda: safe(torch.clone),
}
for name, way in ways.items():
    print(f"{name}:", ", ".join(f"{what} {told(got, given[what])}" for what, got in zip(given, way(), strict=True)))
PROGRAM
"$work/venv/bin/python" -W ignore program.py | tee said
cmp - said <<'EXPECTED'
carry the bit: mH True, V of svd True, V of svd_lowrank True, ihfft True, a gradient True, a parameter True
torch.save: conjugate equal, imaginary part equal
torch.distributed.checkpoint: conjugate equal, imaginary part equal
safetensors: conjugate of the other sign, imaginary part of the other sign
torch.export: conjugate equal, imaginary part equal
torch.export, saved and loaded: conjugate of the other sign, imaginary part of the other sign
loader without workers: conjugate equal, imaginary part equal
loader with a worker: conjugate of the other sign, imaginary part of the other sign
queue: conjugate of the other sign, imaginary part of the other sign
numpy.from_dlpack: conjugate BufferError, imaginary part of the other sign
safetensors after clone: conjugate equal, imaginary part equal
EXPECTED

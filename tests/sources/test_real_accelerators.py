"""Real devices: run where there is a GPU."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap

import pytest
import torch

from deterministic.sources.accelerators import LazyAccelerator, capturing
from deterministic.sources.registry import check_source
from tests.fakes import LAZY_KINDS, FakeAccelerator, fake_accelerator, fake_mps, fake_privateuse1
from tests.sources.accelerator_blocks import (
    block,
)

# Real devices

gpu = pytest.mark.gpu
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.fixture(scope="session")
def initialised_cuda() -> None:
    torch.cuda.init()


def cuda_states() -> list[list[int]]:
    return [state.tolist() for state in torch.cuda.get_rng_state_all()]


@gpu
@needs_cuda
@pytest.mark.usefixtures("initialised_cuda")
def test_cuda_keeps_the_contract() -> None:
    check_source(LazyAccelerator("cuda"))


@gpu
@needs_cuda
@pytest.mark.usefixtures("initialised_cuda")
def test_cuda_draws_the_same_in_each_block_and_is_given_back() -> None:
    before = cuda_states()
    drawn = []
    for _ in range(2):
        with block(LazyAccelerator("cuda"), 42):
            drawn.append([torch.rand(5, device=f"cuda:{i}").tolist() for i in range(torch.cuda.device_count())])
        assert cuda_states() == before
    with block(LazyAccelerator("cuda"), None):
        torch.cuda.manual_seed_all(42)
        by_hand = [torch.rand(5, device=f"cuda:{i}").tolist() for i in range(torch.cuda.device_count())]
    assert drawn == [by_hand, by_hand]


@gpu
@needs_cuda
@pytest.mark.usefixtures("initialised_cuda")
def test_cuda_states_travel_through_a_checkpoint_loaded_onto_the_device() -> None:
    source = LazyAccelerator("cuda")
    with block(source, 42):
        torch.rand(5, device="cuda")
        file = io.BytesIO()
        torch.save(source.encode(source.capture()), file)
        expected = cuda_states()
        torch.rand(5, device="cuda")
        file.seek(0)
        source.restore(source.decode(torch.load(file, map_location="cuda", weights_only=True)))
        assert cuda_states() == expected


@gpu
@needs_cuda
@pytest.mark.usefixtures("initialised_cuda")
def test_cuda_says_when_it_captures_a_graph() -> None:
    assert not capturing()
    values = torch.zeros(3, device="cuda")
    inside = []
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        values += 1
        inside.append(capturing())
    assert inside == [True]
    assert not capturing()


IN_A_FRESH_PROCESS = """
    import torch
    from deterministic.ground.config import Config
    from deterministic.sources.accelerators import LazyAccelerator, capturing

    source, devices = LazyAccelerator("cuda"), range(torch.cuda.device_count())
    {prepare}
    state = source.capture()
    source.apply(Config(seed=42))
    assert not capturing() and not torch.cuda.is_initialized()
    inside = [torch.rand(5, device=f"cuda:{{i}}").tolist() for i in devices]
    source.restore(state)
    outside = [torch.rand(5, device=f"cuda:{{i}}").tolist() for i in devices]
    torch.cuda.manual_seed_all(42)
    assert inside == [torch.rand(5, device=f"cuda:{{i}}").tolist() for i in devices], "the block's seed"
    {check}
"""


@gpu
@needs_cuda
@pytest.mark.parametrize(
    ("prepare", "check"),
    [
        ("pass", "assert outside != inside"),
        (
            "torch.manual_seed(1)",
            "torch.cuda.manual_seed_all(1)\n"
            '    assert outside == [torch.rand(5, device=f"cuda:{i}").tolist() for i in devices]',
        ),
        (
            "saved = torch.zeros(16, dtype=torch.uint8); saved[0] = 7; torch.cuda.set_rng_state(saved, 0)",
            'torch.cuda.set_rng_state(saved, 0); assert outside[0] == torch.rand(5, device="cuda:0").tolist()',
        ),
    ],
    ids=["nothing queued", "a seed queued", "a state queued"],
)
def test_cuda_first_used_in_the_block(prepare: str, check: str) -> None:
    program = textwrap.dedent(IN_A_FRESH_PROCESS.format(prepare=prepare, check=check))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_the_fakes_leave_torch_as_it_was() -> None:
    modules = (torch.cuda, torch.xpu, torch.mtia, torch.mps, torch.backends.mps, torch._C, torch)
    before = [dict(vars(module)) for module in modules]
    state = torch.default_generator.get_state()
    for kind in LAZY_KINDS:
        with fake_accelerator(kind) as fake:
            torch.manual_seed(1)
            fake.init()
    with fake_mps(), fake_privateuse1():
        torch.manual_seed(2)
    after = [dict(vars(module)) for module in modules]
    for names, now in zip(before, after, strict=True):
        assert {name for name in names if names[name] is not now.get(name)} == set()
        assert names.keys() == now.keys()
    assert torch.equal(torch.default_generator.get_state(), state)


def test_the_fake_runs_the_queue_of_torch_itself() -> None:
    with fake_accelerator() as fake:
        assert isinstance(fake, FakeAccelerator)
        torch.manual_seed(3)
        assert fake.unrelated_calls == 0
        torch.cuda.current_device()
        assert not torch.cuda.is_initialized()
        assert len(torch.cuda.get_rng_state_all()) == 2
        assert torch.cuda.is_initialized()
        assert fake.unrelated_calls == 1
        assert fake.seeds() == [3, 3]

"""States made from keys: full, apart from each other, the same on every way into a generator, and for good."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random.mtrand import get_bit_generator, set_bit_generator

from deterministic import reproducible
from deterministic.data.samples import states
from deterministic.data.samples.keys import epoch_key, sample_keys
from deterministic.data.samples.states import seed_generators
from deterministic.errors import DeterministicError
from deterministic.sources import numpy_random, python_random, torch_cpu
from deterministic.sources.base import TORCH_TWISTER

from ..ids import without_address

KEY = 0x0123456789ABCDEF
BITS = ["MT19937", "PCG64", "PCG64DXSM", "SFC64", "Philox"]
KINDS = ["Random", "RandomState", "RandomState over Philox", *BITS, "torch"]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with reproducible(seed=None, deterministic=False):
        yield


def make(kind: str) -> Any:
    if kind == "Random":
        return random.Random(1)
    if kind == "torch":
        return torch.Generator().manual_seed(1)
    bits = getattr(np.random, kind.split()[-1], np.random.MT19937)
    wrapped = np.random.RandomState if kind.startswith("RandomState") else np.random.Generator
    return wrapped(bits(1) if bits is not np.random.RandomState else np.random.MT19937(1))


def writer_for(generator: Any) -> Any:
    """Return a writer, or None; of another type for the tests, which know that there is one."""
    return states.writer_for(generator)


def draw(generator: Any) -> list[float]:
    """Draw uniform and normal numbers, an odd count of each: half of a pair, and half of a word, are left behind."""
    if isinstance(generator, torch.Generator):
        drawn = torch.rand((), generator=generator, dtype=torch.float64).item()
        return [
            drawn,
            *(torch.randn(1, generator=generator, dtype=kind).item() for kind in (torch.float32, torch.float64)),
        ]
    if isinstance(generator, random.Random):
        return [generator.random(), generator.gauss(0, 1)]
    numbers = [float(generator.random()), float(generator.standard_normal())]
    if isinstance(generator, np.random.Generator):
        numbers.append(float(generator.random(dtype=np.float32)))
    return numbers


def uniform() -> list[float]:
    return [random.random(), np.random.random(), torch.rand((), dtype=torch.float64).item()]


def global_words() -> list[list[int]]:
    """Return the words of the three global generators."""
    torchs = torch.default_generator.get_state().numpy().view(TORCH_TWISTER)["words"][0]
    numpys: Any = np.random.get_state(legacy=False)
    return [list(random.getstate()[1][:-1]), numpys["state"]["key"].tolist(), torchs.tolist()]


def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be laid out as it is known."""
    for module in (python_random, numpy_random):
        monkeypatch.setattr(module, "layout_holds", lambda *_: False)


EXPECTED = {
    "Random": 0.1991989945710435,
    "RandomState": 0.1991989945710435,
    "RandomState over Philox": 0.9759014978664069,
    "MT19937": 0.1991989945710435,
    "PCG64": 0.615157195935125,
    "PCG64DXSM": 0.16021281431510004,
    "SFC64": 0.9097389162064253,
    "Philox": 0.9759014978664069,
    "torch": 0.037678374221663424,
}


@kinds
def test_draws_of_a_key_are_these_for_good(kind: str) -> None:
    generator = make(kind)
    writer_for(generator)(KEY)
    assert draw(generator)[0] == EXPECTED[kind]


def test_words_of_the_global_generators_are_these_for_good() -> None:
    seed_generators(KEY)
    drawn = random.getrandbits(32), int(np.random.randint(2**32, dtype=np.uint32)), int(torch.randint(2**32, ()))
    assert drawn == (855553157, 2664742644, 914915625)
    assert [words[-1] for words in global_words()] == [620904970, 2593084950, 3526220899]


def test_these_libraries_are_laid_out_as_they_are_known() -> None:
    assert python_random.layout_holds()
    assert numpy_random.layout_holds()
    assert numpy_random.layout_holds(np.random.SFC64)
    assert numpy_random.gauss_offset() is not None
    assert torch_cpu.layout_holds()


@kinds
def test_the_public_way_draws_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = make(kind), make(kind)
    write = writer_for(fast)
    without_memory(monkeypatch)
    write_in_public = writer_for(slow)
    for key in (KEY, 5, 2**64 - 1, 0):
        for put in (write, write_in_public):
            put(key)
        assert [draw(fast) for _ in range(700)] == [draw(slow) for _ in range(700)]


def test_the_public_way_seeds_the_global_generators_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seed_generators(KEY)
    expected = global_words(), [uniform() for _ in range(700)], torch.initial_seed()
    without_memory(monkeypatch)
    monkeypatch.setattr(states, "_outputs", states._Outputs())
    states._globally()(KEY)
    assert (global_words(), [uniform() for _ in range(700)], torch.initial_seed()) == expected


def test_a_torch_that_keeps_its_state_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_cpu, "layout_holds", lambda: False)
    with pytest.raises(DeterministicError, match="found: torch"):
        writer_for(torch.Generator())


def test_a_gaussian_that_lies_elsewhere_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    string_at = ctypes.string_at
    monkeypatch.setattr(ctypes, "string_at", lambda address, size: string_at(address, size)[::-1])
    assert numpy_random.gauss_offset.__wrapped__() is None


@kinds
def test_nothing_is_left_over_from_earlier_draws(kind: str) -> None:
    generator = make(kind)
    write = writer_for(generator)
    write(KEY)
    first = draw(generator)
    for draws in range(1, 6):
        for _ in range(draws):
            draw(generator)
        write(KEY)
        assert draw(generator) == first
    write(KEY + 1)
    assert draw(generator) != first


def test_the_global_generators_keep_no_gaussian() -> None:
    def normals() -> list[float]:
        return [random.gauss(0, 1), np.random.standard_normal(), torch.randn(()).item()]

    seed_generators(KEY)
    first = normals()
    seed_generators(KEY)
    assert normals() == first


def test_another_bit_generator_behind_numpy_is_seeded_as_well() -> None:
    before = get_bit_generator()
    seed_generators(KEY)
    twister = uniform()
    try:
        set_bit_generator(np.random.PCG64(1))
        seed_generators(KEY)
        other = uniform()
        seed_generators(KEY)
        assert uniform() == other
        assert [one == two for one, two in zip(twister, other, strict=True)] == [True, False, True]
        set_bit_generator(np.random.MT19937(1))
        seed_generators(KEY)
        assert uniform() == twister
    finally:
        set_bit_generator(before)


@pytest.mark.parametrize(
    "generator", [random.SystemRandom(), "text", torch.Generator, np.random.MT19937(1)], ids=without_address
)
def test_what_has_no_state_has_no_writer(generator: Any) -> None:
    assert writer_for(generator) is None


def test_threads_do_not_take_each_others_words() -> None:
    wrong = []

    def work(kind: str) -> None:
        generator = make(kind)
        write = writer_for(generator)
        for _ in range(2000):
            write(KEY)
            if draw(generator)[0] != EXPECTED[kind]:
                wrong.append(kind)

    threads = [threading.Thread(target=work, args=(kind,)) for kind in ("Random", "PCG64", "torch", "RandomState")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_state_is_full_and_the_libraries_share_no_word() -> None:
    found = []
    for key in sample_keys(epoch_key(0, 0, "samples"), range(20)):
        seed_generators(key)
        found += [word for words in global_words() for word in words]
    assert len(found) == 20 * 3 * 624
    # Of n words of 32 bits, n * n / 2**33 pairs are equal by chance: 0.2 of these.
    assert len(found) - len(set(found)) <= 2


def test_no_two_samples_of_an_epoch_draw_alike() -> None:
    keys = sample_keys(epoch_key(0, 0, "samples"), range(200_000))
    assert len({key & 0xFFFFFFFF for key in keys}) < len(keys)  # what 32 bits of a seed would come to
    first = {bytes(states._outputs.draw(key, 2)) for key in keys}
    assert len(first) == len(keys)


@pytest.mark.parametrize("key", [0, KEY])
def test_each_bit_of_a_key_changes_half_of_the_bits(key: int) -> None:
    def bits(key: int) -> np.ndarray[Any, Any]:
        return np.unpackbits(states._outputs.draw(key, 128).view(np.uint8))

    changed = [float((bits(key) != bits(key ^ 1 << bit)).mean()) for bit in range(64)]
    assert min(changed) > 0.46  # 4096 bits: 0.5 +- 0.008
    assert max(changed) < 0.54


def test_neighbouring_samples_and_libraries_are_uncorrelated() -> None:
    samples, draws = 3000, 6
    drawn = np.empty((samples, draws, 3))
    for sample, key in enumerate(sample_keys(epoch_key(1, 0, "samples"), range(samples))):
        seed_generators(key)
        drawn[sample] = [uniform() for _ in range(draws)]
    columns = drawn.reshape(samples, -1)
    both = np.concatenate([columns[:-1], columns[1:]], axis=1)  # each sample beside the one before it
    correlations = np.corrcoef(both, rowvar=False)[np.triu_indices(both.shape[1], 1)]
    assert np.abs(correlations).max() < 4.2 / samples**0.5
    assert abs(correlations.std() * samples**0.5 - 1) < 0.1
    # Each draw of each library, and each pair of libraries, falls evenly into cells.
    for column in columns.T:
        assert _chi_square(np.histogram(column, 20, (0, 1))[0]) < 5
    for one, other in ((0, 1), (0, 2), (1, 2)):
        cells = np.histogram2d(drawn[..., one].ravel(), drawn[..., other].ravel(), 8, ((0, 1), (0, 1)))[0]
        assert _chi_square(cells) < 5


def _chi_square(counts: np.ndarray[Any, Any]) -> float:
    """Return by how many standard deviations the counts are less even than chance has them."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5)

"""webdataset, over tar files: streams without a state that are loaded again, and what counts its epochs."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import webdataset

from deterministic import make_loader, reproducible
from deterministic.errors import NotReproducibleError
from deterministic.testing import check_stream

from .killed import killed_anywhere

# A pass that is left leaves its file open.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

Over = Callable[..., Any]


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Over:
    """Return what makes a WebDataset over three tar files of four samples."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(3):
        with tarfile.open(folder / f"{shard}.tar", "w") as file:
            for place in range(4):
                text = str(10 * shard + place).encode()
                entry = tarfile.TarInfo(f"{shard}{place}.txt")
                entry.size = len(text)
                file.addfile(entry, io.BytesIO(text))
    shards = [str(folder / f"{shard}.tar") for shard in range(3)]

    def make(**arguments: Any) -> Any:
        with reproducible(seed=0, deterministic=False):  # it draws a seed when it is made
            return webdataset.WebDataset(shards, **{"shardshuffle": False, "empty_check": False, **arguments})

    return make


def texts(stream: Any) -> Any:
    return stream.decode().to_tuple("txt")


EXACT: dict[str, Callable[[Over], Any]] = {
    "in order": lambda over: texts(over()),
    "shuffled with a seed": lambda over: texts(over().shuffle(5, seed=3)),
    "shuffled with the global generator": lambda over: texts(over().shuffle(5, rng=random)),
    "with shuffled shards": lambda over: texts(over(shardshuffle=3, seed=5)),
}
REMEMBERS: dict[str, Callable[[Over], Any]] = {
    "a generator that it keeps": lambda over: texts(over().shuffle(5, rng=random.Random(3))),
    "detshuffle of shards": lambda over: texts(over(shardshuffle=3, seed=5, detshuffle=True)),
    "detshuffle": lambda over: texts(over().compose(webdataset.detshuffle(5))),
}


@pytest.mark.parametrize("name", EXACT)
def test_what_shows_all_is_exact(name: str, over: Over) -> None:
    told = check_stream(lambda: EXACT[name](over), num_workers=0)
    # What holds the module random cannot be copied, so without workers nobody can look ahead in it.
    assert {line.split()[0] for line in told} == ({"peeked"} if "global" in name else set())


@pytest.mark.parametrize("workers", [{"num_workers": 1}, {"num_workers": 1, "persistent_workers": True}], ids=str)
def test_a_stream_in_a_worker_is_exact(over: Over, workers: dict[str, Any]) -> None:
    assert check_stream(lambda: EXACT["shuffled with a seed"](over), **workers) == []


@pytest.mark.parametrize("name", REMEMBERS)
def test_what_remembers_its_epochs_is_exact_in_the_first_and_exact_or_refused_later(name: str, over: Over) -> None:
    told = check_stream(lambda: REMEMBERS[name](over), num_workers=0)
    assert not [line for line in told if line.startswith(("resumed within epoch 0:", "resumed before", "iterated"))]


def test_a_shuffle_without_a_seed_is_found(over: Over) -> None:
    with pytest.raises(NotReproducibleError):
        check_stream(lambda: texts(over().shuffle(5)), num_workers=0)
    with pytest.raises(NotReproducibleError):
        make_loader(texts(over().shuffle(5)), batch_size=2, collate_fn=list, seed=0).check()
    make_loader(texts(over().shuffle(5, seed=3)), batch_size=2, collate_fn=list, seed=0).check()


@pytest.mark.parametrize("name", [*EXACT, *REMEMBERS])
def test_a_killed_training_ends_with_the_same_bits_or_is_refused(name: str, over: Over, tmp_path: Path) -> None:
    stream = {**EXACT, **REMEMBERS}[name]
    make = lambda: make_loader(stream(over), batch_size=2, collate_fn=list, seed=0)  # noqa: E731
    outcomes = killed_anywhere(make, tmp_path)
    assert outcomes == {"exact"} if name in EXACT else outcomes <= {"exact", "refused"}

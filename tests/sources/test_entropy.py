"""The watch over entropy: what it sees and where, what it lets pass, and that nothing of it is left behind."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import inspect
import linecache
import multiprocessing
import os
import pickle
import random
import secrets
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.random.bit_generator as numpy_bits
import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data.datapipes.iter import IterableWrapper

from deterministic import reproducible
from deterministic.errors import DeterministicError, EntropyError, NondeterminismWarning
from deterministic.ground import snapshot, watching
from deterministic.sources import SOURCES, entropy

from ..unseeded import draws, standing

NUMPY, PYTHON, CLOCK = "a NumPy generator", "random.Random()", "a seed read from the clock"
TORCH, MADE_BEFORE = "seed() of a torch.Generator", torch.Generator()


def larger(*times: float) -> int:
    """Return what `% 2**32` leaves of one: of each there are hours or minutes in which it is below 10**8."""
    return max(int(each) % 2**32 for each in times)


UNSEEDED: dict[str, tuple[str, Callable[[], Any]]] = {
    "default_rng": (NUMPY, lambda: np.random.default_rng()),
    "RandomState": (NUMPY, lambda: np.random.RandomState()),
    "SeedSequence": (NUMPY, lambda: np.random.SeedSequence()),
    "PCG64": (NUMPY, lambda: np.random.PCG64()),
    "MT19937": (NUMPY, lambda: np.random.MT19937()),
    "numpy.random.seed": ("numpy.random.seed() without a seed", lambda: np.random.seed()),
    "Philox": (NUMPY, lambda: np.random.Philox()),
    "Random": (PYTHON, lambda: random.Random()),
    "a subclass": (PYTHON, lambda: Subclass()),
    "random.seed": ("random.seed() without a seed", lambda: random.seed()),
    "SystemRandom": ("random.SystemRandom", lambda: random.SystemRandom().random()),
    "secrets": ("secrets.token_hex()", lambda: secrets.token_hex(4)),
    "uuid1": ("uuid.uuid1()", lambda: uuid.uuid1()),
    "uuid4": ("uuid.uuid4()", lambda: uuid.uuid4()),
    "urandom": ("os.urandom()", lambda: os.urandom(4)),
    "torch.seed": (TORCH, lambda: torch.seed()),
    "seed of a generator": (TORCH, lambda: torch.Generator().seed()),
    "seed of one made before": (TORCH, lambda: MADE_BEFORE.seed()),
    "time, random.seed": (CLOCK, lambda: random.seed(time.time())),
    "time, Random": (CLOCK, lambda: random.Random(time.time_ns())),
    "time, numpy": (CLOCK, lambda: np.random.seed(int(time.time()))),
    "time, torch": (CLOCK, lambda: torch.manual_seed(int(time.time() * 1000))),
    "time, default_rng": (CLOCK, lambda: np.random.default_rng(int(time.time()))),
    "time, SeedSequence": (CLOCK, lambda: np.random.SeedSequence([time.time_ns(), 3])),
    "time, RandomState": (CLOCK, lambda: np.random.RandomState(seed=int(time.time()))),
    "time, torch.Generator": (CLOCK, lambda: torch.Generator().manual_seed(int(time.time()))),
    "part of a time, numpy": (CLOCK, lambda: np.random.seed(larger(time.time() * 1e3, time.time() * 1e6))),
    "part of a time, torch": (CLOCK, lambda: torch.manual_seed(larger(time.time() * 1e3, time.time() * 1e6))),
    "time and process": (CLOCK, lambda: random.Random(int((os.getpid() + time.time()) * 1e9))),
}


BoundBefore = np.random.RandomState


def python(one: object) -> bool:
    """Return whether it is one of Python's, which unpickling makes without a seed before it gives it its state."""
    return isinstance(one, random.Random)


class Subclass(random.Random):
    pass


def seeded() -> list[float]:
    """Draw from what was given a seed, in each way that there is."""
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    own: list[Any] = [np.random.default_rng(4), np.random.RandomState(5), random.Random("6"), random.Random(7.5)]
    own += [np.random.Generator(np.random.PCG64(np.random.SeedSequence(8).spawn(1)[0]))]
    own += [random.Random(2**70), BoundBefore(9), np.random.Generator(np.random.Philox(key=10))]
    own += [copy.deepcopy(one) for one in own] + pickle.loads(pickle.dumps([one for one in own if not python(one)]))
    return [*(one.random() for one in own), random.random(), np.random.rand(), torch.rand(1).item()]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = standing()
    yield
    assert standing() == before


def test_each_unseeded_source_is_refused_at_its_line_before_anything_is_drawn() -> None:
    for name, (what, draw) in UNSEEDED.items():
        with reproducible(0, entropy="raise") as run:
            generators = [source for source in SOURCES if source.kind == "rng"]
            before = [source.describe(source.capture()) for source in generators]
            with pytest.raises(EntropyError) as error:
                draw()
            assert before == [source.describe(source.capture()) for source in generators], name
        place = f"{__file__}:{inspect.getsourcelines(draw)[1]}"
        lines = str(error.value).splitlines()
        assert lines[1] == f"  at: {place}", name
        assert lines[-2].startswith(f"  from: {what}"), (name, lines)
        (caught,) = run.report().data["entropy"]
        assert (caught["place"], caught["times"], caught["seeded"]) == (place, 1, False)
        assert place in str(run.report())
        assert place in run.report()._repr_html_()


def test_seeded_generators_are_let_pass_and_draw_the_same() -> None:
    with reproducible(0):
        expected = seeded()
    modes: list[Any] = ["warn", "raise", "seed"]
    for mode in modes:
        with reproducible(0, entropy=mode) as run:
            assert seeded() == expected
        assert run.report().data["entropy"] == []


def test_what_python_and_torch_ask_for_names_and_keys_is_let_pass() -> None:
    with reproducible(0, entropy="raise") as run:
        os.rmdir(tempfile.mkdtemp())
        multiprocessing.Queue().close()
        hashlib.blake2b(b"").digest()
        list(DataLoader(list(range(4)), shuffle=True, num_workers=1))  # type: ignore[arg-type]
        list(IterableWrapper(range(4)).shuffle())
    assert run.report().data["entropy"] == []


INSTALLED = """
import os, random, uuid
import numpy as np

keys = random.Random(), os.urandom(4), uuid.uuid4()


def names():
    return uuid.uuid4(), random.Random()


def numbers():
    return np.random.default_rng()
"""


def installed(module: str, source: str = INSTALLED) -> dict[str, Any]:
    """Return what is in a module after its import, as if it were one of an installed package."""
    names: dict[str, Any] = {"__name__": module}
    exec(compile(source, f"/lib/site-packages/{module.replace('.', '/')}.py", "exec"), names)
    return names


def test_a_package_may_be_imported_and_is_seen_when_it_is_called() -> None:
    with reproducible(0, entropy="raise") as run:
        package = installed("package.inner")
    assert run.report().data["entropy"] == []
    with reproducible(0, entropy="raise"):
        for draw in ("names", "numbers"):
            with pytest.raises(EntropyError):
                package[draw]()
        with pytest.raises(EntropyError):
            installed("package.inner", "import numpy as np; np.random.default_rng()")
        with pytest.raises(EntropyError):
            installed("__main__")


@pytest.mark.parametrize("top", ["sklearn", "matplotlib", "comm", "multiprocess"])
def test_packages_that_ask_for_names_are_seen_where_they_ask_for_numbers(top: str) -> None:
    package = installed(f"{top}.inner")
    with reproducible(0, entropy="raise"):
        package["names"]()
        with pytest.raises(EntropyError):
            package["numbers"]()


def test_what_scipy_draws_for_its_docstrings_while_it_is_imported_is_let_pass() -> None:
    text = "import numpy as np\ndef _generate_example(): np.random.default_rng()\n_generate_example()\n"
    with reproducible(0, entropy="raise"):
        installed("scipy.stats._distribution_infrastructure", text)
        with pytest.raises(EntropyError):
            installed("scipy.stats._qmc", text)


def test_a_line_is_warned_of_once_and_counted_each_time() -> None:
    with warnings.catch_warnings(record=True) as caught, reproducible(0, entropy="warn") as run:
        warnings.simplefilter("always")
        for _ in range(3):
            draws()
            with reproducible(1):
                secrets.token_hex(2)
    assert [one.category for one in caught] == [NondeterminismWarning] * 3
    assert caught[2].filename == __file__
    assert sorted(one["times"] for one in run.report().data["entropy"]) == [3, 3, 6]


def test_a_report_stays_short_however_many_lines_draw() -> None:
    lines = "\n".join(["secrets.token_hex(2)"] * 100)
    with warnings.catch_warnings(), reproducible(0, entropy="warn") as run:
        warnings.simplefilter("ignore")
        exec(compile(lines, "<string>", "exec"), {"secrets": secrets})
    rows = run.report().data["entropy"]
    assert len(rows) == watching._MOST + 1
    assert rows[-1]["times"] == 100 - watching._MOST
    with reproducible(0, entropy="seed") as run:
        exec(compile("\n".join(["random.Random()"] * 100), "<string>", "exec"), {"random": random})
    assert {row["seeded"] for row in run.report().data["entropy"]} == {True}


def test_what_somebody_swallows_is_in_the_report() -> None:
    with reproducible(0, entropy="raise") as run, contextlib.suppress(Exception):  # as libraries do
        uuid.uuid4()
    assert [one["what"] for one in run.report().data["entropy"]] == ["uuid.uuid4()"]


def test_unseeded_generators_repeat_with_the_run_and_differ_within_it() -> None:
    def run(seed: int, *, other_line: bool = False) -> list[Any]:
        with reproducible(seed, entropy="seed") as run:
            found = [draws()]
            if other_line:
                draws()
            found += [[np.random.default_rng().random(), random.Random().random()], draws()]
            assert all(one["seeded"] for one in run.report().data["entropy"])
        return found

    first = run(1)
    assert run(1) == first
    assert len({number for part in first for number in part}) == 8
    assert not {*run(2)[0]} & {*first[0]}
    assert run(1, other_line=True)[1] == first[1]  # the other line's draws are its own


def test_a_line_keeps_its_numbers_when_its_function_moves_within_the_file() -> None:
    def made(text: str) -> Any:
        names: dict[str, Any] = {"np": np, "__name__": "training"}
        exec(compile(text, "training.py", "exec"), names)
        with reproducible(1, entropy="seed"):
            return names["noise"]()

    text = "def noise():\n    return np.random.default_rng().random()\n"
    assert made(text) == made(f"\n\n# Another comment.\n{text}") != made(text.replace("\n", "\n\n", 1))


def test_global_generators_that_are_reseeded_from_entropy_repeat_too() -> None:
    def found() -> list[float]:
        with reproducible(1, entropy="seed"):
            random.seed()
            np.random.seed()
            return [random.random(), np.random.rand()]

    first, plain = found(), reproducible(1)
    assert found() == first
    with plain:
        assert [random.random(), np.random.rand()] != first


@pytest.mark.filterwarnings("ignore::deterministic.errors.NondeterminismWarning")
def test_what_is_secret_is_never_altered() -> None:
    def found() -> list[Any]:
        with reproducible(1, entropy="seed") as run:
            secret = [secrets.token_hex(8), os.urandom(8), random.SystemRandom().random(), uuid.uuid4(), torch.seed()]
        assert not any(one["seeded"] for one in run.report().data["entropy"])
        return secret

    assert not {*found()} & {*found()}


def test_what_somebody_else_has_put_in_place_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(size: int) -> bytes:
        return bytes(size)

    genuine = os.urandom
    with monkeypatch.context() as patched:
        with reproducible(0, entropy="raise"):
            ours = os.urandom
            patched.setattr(os, "urandom", theirs)
            assert uuid.uuid4().int  # not seen: theirs asks nobody
        assert os.urandom is theirs
        with reproducible(0, entropy="raise"), pytest.raises(EntropyError):
            os.urandom(1)
        assert os.urandom is theirs
    assert os.urandom is ours  # monkeypatch puts back what it found, which does nothing by now
    assert len(os.urandom(4)) == 4
    with reproducible(0, entropy="raise"), pytest.raises(EntropyError):
        os.urandom(1)
    assert os.urandom is genuine


def test_a_numpy_that_asks_elsewhere_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert entropy._numpy_asks()
    other = SimpleNamespace(randbits=secrets.randbits, SeedSequence=lambda: None)
    with monkeypatch.context() as patched:
        patched.setattr(entropy, "numpy_bits", other)
        assert not entropy._numpy_asks.__wrapped__()
    assert other.randbits == secrets.randbits
    monkeypatch.setattr(entropy, "_numpy_asks", lambda: False)
    with pytest.raises(DeterministicError, match="does not reach the generators of this NumPy"):
        reproducible(0, entropy="seed").start()
    entropy._limits.cache_clear()
    monkeypatch.setattr(watching, "rows", [row for row in watching.rows if row[1] != "manual_seed"])
    with reproducible(0, entropy="warn") as run:
        assert {"numpy.random", "torch.Generator"} <= {limit["subject"] for limit in run.report().data["limits"]}
    entropy._limits.cache_clear()


def test_a_generator_of_torch_that_is_drawn_from_and_never_seeded_is_in_the_report_and_not_refused() -> None:
    with reproducible(0, entropy="raise") as run:
        seeded, set_to, bare = torch.Generator().manual_seed(1), torch.Generator(), torch.Generator()
        set_to.set_state(seeded.get_state())
        list(DataLoader(list(range(4)), shuffle=True))  # type: ignore[arg-type]
        for generator in (seeded, set_to):
            torch.rand(1, generator=generator)
        assert run.report().data["entropy"] == []
        torch.rand(1, generator=bare)
        for _ in range(3 * watching._MOST):
            torch.Generator().manual_seed(1)
        bare_again = torch.Generator()
    torch.rand(1, generator=bare_again)
    rows = run.report().data["entropy"]
    assert [linecache.getline(__file__, int(row["place"].rpartition(":")[2])).strip() for row in rows] == [
        "seeded, set_to, bare = torch.Generator().manual_seed(1), torch.Generator(), torch.Generator()",
        "bare_again = torch.Generator()",
    ]
    assert rows[0]["what"].startswith("a torch.Generator() without a seed")


def test_a_generator_of_torch_is_what_it_was_to_those_who_ask() -> None:
    genuine = torch.Generator
    with reproducible(0, entropy="warn"):
        made = torch.Generator(device="cpu").manual_seed(3)
        assert type(made) is genuine  # torch.compile and torch.jit know it by its type
        assert isinstance(made, torch.Generator)
        assert issubclass(genuine, torch.Generator)
        text = pickle.dumps((torch.Generator, made))
        assert type(copy.deepcopy(made)) is genuine
    kind, one = pickle.loads(text)
    assert kind is genuine
    assert torch.equal(torch.rand(2, generator=one), torch.rand(2, generator=made))


def test_classes_of_numpy_are_what_they_were_to_those_who_ask() -> None:
    genuine = np.random.RandomState
    with reproducible(0, entropy="seed"):

        class Own(np.random.RandomState):
            pass

        made, bound = np.random.RandomState(3), [BoundBefore().rand() for _ in range(2)]
        assert type(made) is genuine
        assert isinstance(made, np.random.RandomState)
        assert issubclass(genuine, np.random.RandomState)
        assert isinstance(Own(1), (Own, np.random.RandomState))
        assert not isinstance(made, Own)
        assert pickle.loads(pickle.dumps(made)).rand() == made.rand() == genuine(3).rand()
    with reproducible(0, entropy="seed"):
        assert [BoundBefore().rand() for _ in range(2)] != bound  # another line
    assert bound[0] != bound[1]


def test_a_class_derived_in_the_block_repeats_with_seed() -> None:
    def drawn() -> list[float]:
        class Own(np.random.RandomState):
            pass

        return [Own().rand() for _ in range(2)]

    with reproducible(0, entropy="seed"):
        first = drawn()
    with reproducible(0, entropy="seed"):
        assert drawn() == first
    assert first[0] != first[1]


def test_nothing_is_replaced_where_nobody_asked() -> None:
    before = standing()[0], random.Random.seed, vars(numpy_bits)["randbits"]
    with reproducible(0) as run:
        assert (os.urandom, random.Random.seed, vars(numpy_bits)["randbits"]) == before
        assert run.report().data["entropy"] == []
    assert snapshot.capture([entropy.EntropyWatch()]).popitem()[1] is None

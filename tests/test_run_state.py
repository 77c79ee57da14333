"""What `Run.state_dict` saves and `Run.load_state_dict` puts back, and that a state that does not fit moves nothing."""

from __future__ import annotations

import copy
import io
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deterministic import Run, describe, reproducible
from deterministic.errors import DeterministicError, ResumeMismatchError, SeedError
from deterministic.sources import SOURCES
from deterministic.sources.own_generators import OwnGenerator

from .processes import run_python


def draw() -> list[float]:
    """Draw from every global generator, with one normal deviate held ready in each."""
    drawn = [random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.normal())]
    return [*drawn, torch.rand(1).item(), torch.randn(1, dtype=torch.float64).item()]


def draw_streams(run: Run) -> list[float]:
    return [torch.rand(1, generator=run.generator("a")).item(), float(run.numpy("b").normal())]


def text(state: Any) -> str:
    """Write a state out in full."""
    return json.dumps(state, default=lambda tensor: tensor.tolist())


def through_torch_save(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


@pytest.mark.parametrize("transport", [copy.deepcopy, through_torch_save, lambda state: state])
def test_a_loaded_state_goes_on_where_the_saved_one_was(transport: Any) -> None:
    mine: list[Any] = [torch.Generator(), np.random.default_rng(), np.random.RandomState(), random.Random()]

    def draw_all() -> list[float]:
        own = [torch.rand(1, generator=mine[0]).item(), mine[1].normal(), mine[2].normal(), mine[3].gauss(0, 1)]
        return [*draw(), *draw_streams(run), *map(float, own)]

    with reproducible(3, generators=mine) as run:
        draw_all()
        state = transport(run.state_dict())
        ahead = [draw_all(), draw_all()]
    with reproducible(99, generators=mine) as run:
        draw_all()
        run.load_state_dict(state)
        assert [draw_all(), draw_all()] == ahead


def test_a_saved_state_does_not_change_later() -> None:
    with reproducible(3) as run:
        draw_streams(run)
        state = run.state_dict()
        before = text(state)
        draw()
        draw_streams(run)
        assert text(state) == before


def test_loading_rewinds_a_stream_that_was_not_there_when_it_was_saved() -> None:
    with reproducible(3) as run:
        state = run.state_dict()
        first = draw_streams(run)
        run.load_state_dict(state)
        assert draw_streams(run) == first


IN_ANOTHER_PROCESS = """
import random, sys, numpy, torch
from deterministic import reproducible
with reproducible(99) as run:
    run.load_state_dict(torch.load(sys.argv[1], weights_only=True))
    stream = torch.rand(1, generator=run.generator('a')).item()
    print(random.gauss(0, 1), numpy.random.normal(), torch.randn(1, dtype=torch.float64).item(), stream)
"""


def test_a_state_is_loaded_in_another_process(tmp_path: Path) -> None:
    with reproducible(3) as run:
        draw()
        draw_streams(run)
        torch.save(run.state_dict(), tmp_path / "state.pt")
        ahead = [random.gauss(0, 1), np.random.normal(), torch.randn(1, dtype=torch.float64).item()]
        ahead.append(torch.rand(1, generator=run.generator("a")).item())
    assert run_python(IN_ANOTHER_PROCESS, str(tmp_path / "state.pt")) == " ".join(str(value) for value in ahead)


def test_loading_leaves_the_settings_alone() -> None:
    with reproducible(3) as run:
        state = run.state_dict()
    with reproducible(3, deterministic=False) as run:
        torch.backends.cudnn.benchmark = True
        run.load_state_dict(state)
        assert torch.backends.cudnn.benchmark
        assert not torch.are_deterministic_algorithms_enabled()


def changed(state: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**state, **changes}


def rng_changed(state: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**state, "rng": {**state["rng"], **changes}}


MISMATCHES: dict[str, Any] = {
    "no dict": lambda state: [state],
    "empty": lambda state: {},
    "another version": lambda state: changed(state, version=2),
    "a source more": lambda state: rng_changed(state, theirs=1),
    "a source less": lambda state: changed(state, rng={name: state["rng"][name] for name in ("python.random",)}),
    "no streams": lambda state: {name: value for name, value in state.items() if name != "torch_streams"},
    "a stream of a device that is not here": lambda state: changed(
        state, torch_streams=[["a", "cuda:7", torch.Generator().get_state()]]
    ),
    "a stream of another size": lambda state: changed(
        state, torch_streams=[["a", "cpu", torch.zeros(3, dtype=torch.uint8)]]
    ),
    "a state of another size": lambda state: rng_changed(state, **{"torch.cpu": torch.zeros(3, dtype=torch.uint8)}),
    "another bit generator": lambda state: rng_changed(
        state, **{"numpy.random": {**state["rng"]["numpy.random"], "bit_generator": "PCG64"}}
    ),
    "an own generator of another kind": lambda state: rng_changed(
        state, **{"generators[0]": torch.Generator().get_state()}
    ),
    "an own generator with another bit generator": lambda state: rng_changed(
        state, **{"generators[0]": np.random.SFC64(1).state}
    ),
}


@pytest.mark.parametrize("mismatch", MISMATCHES.values(), ids=MISMATCHES.keys())
def test_a_state_that_does_not_fit_moves_nothing(mismatch: Any) -> None:
    own = np.random.default_rng(1)
    with reproducible(3, generators=[own]) as run:
        state = mismatch(run.state_dict())
        draw()
        draw_streams(run)
        own.random()
        before = text(run.state_dict())
        with pytest.raises(ResumeMismatchError):
            run.load_state_dict(state)
        assert text(run.state_dict()) == before


def placed(state: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a state with another value in one place."""
    if not place:
        return value
    copied = copy.copy(state)
    copied[place[0]] = placed(state[place[0]], place[1:], value)
    return copied


def torch_state_from(word: int, left: int) -> torch.Tensor:
    """Return a state of torch's twister that draws `left` - 1 words from `word` on, before it makes new ones."""
    state = torch.Generator().get_state()
    state[8:12] = torch.tensor([left], dtype=torch.int32).view(torch.uint8)
    state[16:24] = torch.tensor([word]).view(torch.uint8)
    return state


PYTHON, NUMPY = ("rng", "python.random"), ("rng", "numpy.random")
OWN = [("rng", f"generators[{place}]") for place in range(6)]
STREAM = ("numpy_streams", 0, 1)

_WORDS: tuple[Any, ...] = (2**32, -1, 1.0, "1", None, [])

WRONG: list[tuple[tuple[Any, ...], Any]] = [
    *(((*place, 0), version) for place in (PYTHON, OWN[0]) for version in (2, 4, None, "3")),
    *(((*place, 1, 624), position) for place in (PYTHON, OWN[0]) for position in (625, -1, 2.0)),
    *(((*PYTHON, 1, 7), word) for word in _WORDS),
    *((place, [3, [1] * length, None]) for place in (PYTHON, OWN[0]) for length in (0, 624, 626)),
    *(((*place, 2), gauss) for place in (PYTHON, OWN[0]) for gauss in (1, "x", [1.0], math.nan)),
    *(((*place, "state", "pos"), position) for place in (NUMPY, OWN[1]) for position in (625, -1, 2.0, True, 10**30)),
    *(((*place, "state", "key", 7), word) for place in (NUMPY, OWN[1]) for word in (2**32, -1, 1.0, "1", None)),
    *(((*place, "state", "key"), [1] * length) for place in (NUMPY, OWN[1]) for length in (0, 623, 625)),
    *(((*place, "has_gauss"), flag) for place in (NUMPY, OWN[1]) for flag in (2, -1, 1.0, None)),
    *(((*place, "gauss"), gauss) for place in (NUMPY, OWN[1]) for gauss in ("x", None, 10**400, [1.0], math.inf)),
    *((place, {"bit_generator": "MT19937"}) for place in (NUMPY, OWN[1])),
    *(((*place, "has_uint32"), flag) for place in (OWN[2], STREAM) for flag in (2, "1")),
    *(((*place, "uinteger"), word) for place in (OWN[2], STREAM) for word in (2**32, -1, 1.0)),
    *(((*place, "state", "inc"), word) for place in (OWN[2], STREAM) for word in (2**128, -1, [1])),
    *(((*OWN[3], "buffer_pos"), position) for position in (5, True, 1.0)),
    *(((*OWN[3], "state", "counter"), words) for words in ([1], [1] * 5, [2**64] * 4, 1)),
    *(((*OWN[4], "state", "state"), words) for words in ([1] * 3, [-1] * 4)),
    *((OWN[5], state) for state in (torch_state_from(624, 2), torch.zeros(5056, dtype=torch.uint8), [1], None)),
    *((("rng", "torch.cpu"), state) for state in (torch_state_from(624, 2), torch_state_from(-1, 2), "x")),
    *((("torch_streams", 0, 2), state) for state in (torch_state_from(624, 2), torch.zeros(5056), 5)),
    *((("rng", "torch.cuda"), {"initialized": True, "states": states}) for states in ([5], 5)),
    (("rng", "torch.cuda", "initialized"), 0),
    (("rng", "torch.cuda", "states"), 5),
    (("rng",), 5),
    (("torch_streams", 0, 0), None),
    (("numpy_streams", 0), ["b"]),
]


def own() -> list[Any]:
    kinds = (np.random.PCG64, np.random.Philox, np.random.SFC64)
    return [
        random.Random(1),
        np.random.RandomState(1),
        *(np.random.Generator(kind(1)) for kind in kinds),
        torch.Generator(),
    ]


@pytest.mark.parametrize(("place", "value"), WRONG, ids=lambda part: repr(part)[:40])
def test_a_wrong_field_is_refused_before_any_setter_is_called(
    place: tuple[Any, ...], value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    with reproducible(3, generators=own()) as run, monkeypatch.context() as patch:
        draw_streams(run)
        state = run.state_dict()
        before = text(state)
        for kind in {type(source) for source in SOURCES if source.kind == "rng"} | {OwnGenerator}:
            patch.setattr(kind, "restore", lambda source, state: called.append(source.name))
        with pytest.raises(ResumeMismatchError):
            run.load_state_dict(placed(state, place, value))
        assert called == []
        assert text(run.state_dict()) == before


def test_the_states_of_this_test_are_loaded_where_nothing_is_wrong() -> None:
    generators = own()
    with reproducible(3, generators=generators) as run:
        draw_streams(run)
        run.load_state_dict(placed(run.state_dict(), ("rng", "torch.cpu"), torch_state_from(624, 1)))
        run.load_state_dict(placed(run.state_dict(), ("rng", "generators[3]", "buffer_pos"), 4))


def test_a_setter_that_refuses_leaves_every_generator_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with reproducible(3) as run:
        draw_streams(run)
        state = run.state_dict()
        draw()
        draw_streams(run)
        before = text(run.state_dict())
        restore = random.setstate
        tried: list[Any] = []

        def refuse_once(state: Any) -> None:
            tried.append(state)
            if len(tried) == 1:
                raise RuntimeError("not now")
            restore(state)

        monkeypatch.setattr(random, "setstate", refuse_once)
        with pytest.raises(ResumeMismatchError, match="nothing was moved"):
            run.load_state_dict(state)
        assert tried
        assert text(run.state_dict()) == before


def test_a_state_with_streams_does_not_fit_a_scope_without_a_seed_and_moves_nothing() -> None:
    with reproducible(3) as run:
        draw_streams(run)
        state = run.state_dict()
    with reproducible(seed=None) as run:
        before = describe()
        with pytest.raises((ResumeMismatchError, SeedError)):
            run.load_state_dict(state)
        assert describe() == before


def test_a_mismatch_of_generators_names_them() -> None:
    with reproducible(3, generators=[random.Random()]) as run:
        state = run.state_dict()
    with reproducible(3) as run, pytest.raises(ResumeMismatchError, match=r"only saved: \['generators\[0\]'\]"):
        run.load_state_dict(state)


def test_the_state_of_a_closed_run_is_refused() -> None:
    with reproducible(3) as run:
        state = run.state_dict()
    for refused in (run.state_dict, lambda: run.load_state_dict(state)):
        with pytest.raises(DeterministicError, match="its scope is not open"):
            refused()
    with reproducible(3, enabled=False) as run, pytest.raises(DeterministicError, match="not open"):
        run.state_dict()


def test_with_a_seed_for_each_rank_the_state_of_another_rank_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with reproducible(3, per_rank=True) as run:
        saved = through_torch_save(run.state_dict())
        expected = draw()
        run.load_state_dict(saved)
        assert draw() == expected
    monkeypatch.setenv("RANK", "1")
    with reproducible(3, per_rank=True) as run:
        before = text(run.state_dict())
        with pytest.raises(ResumeMismatchError, match=r"saved by: rank 0\n  here: rank 1"):
            run.load_state_dict(saved)
        assert text(run.state_dict()) == before
    with reproducible(3) as run:  # whose ranks draw alike
        run.load_state_dict(saved)
        assert draw() == expected

"""What `save_checkpoint` saved, `load_checkpoint` puts back: generators, names, and only under the same conditions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deterministic import Run, load_checkpoint, reproducible, save_checkpoint
from deterministic.checkpoint import container, save
from deterministic.checkpoint.conditions import generator_states
from deterministic.errors import CheckpointError, NondeterminismWarning, ResumeMismatchError

from ..processes import run_python
from .written import Plain


@pytest.fixture
def generators() -> Iterator[None]:
    """Give the process's generators back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def draw(run: Run | None = None) -> list[object]:
    drawn: list[object] = [random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.normal())]
    drawn += torch.rand(2).tolist() + torch.randn(3).tolist()
    if run is not None:
        drawn += torch.rand(2, generator=run.generator("a")).tolist()
        drawn += [float(run.numpy("b").random())]
    return drawn


@pytest.mark.usefixtures("generators")
def test_outside_of_a_scope_the_generators_of_the_process_go_on(tmp_path: Path) -> None:
    draw()
    save_checkpoint(tmp_path / "a")
    first, second = draw(), draw()
    assert first != second
    assert load_checkpoint(tmp_path / "a") == {}
    assert [draw(), draw()] == [first, second]


def test_inside_of_a_scope_its_generators_and_streams_go_on(tmp_path: Path) -> None:
    with reproducible(seed=1) as run:
        draw(run)
        save_checkpoint(tmp_path / "a", step=3)
        run.generator("later")
        drawn = [draw(run), torch.rand(2, generator=run.generator("later")).tolist()]
        assert load_checkpoint(tmp_path / "a", step=None) == {"step": 3}
        assert [draw(run), torch.rand(2, generator=run.generator("later")).tolist()] == drawn
    with reproducible(seed=1) as run:
        load_checkpoint(tmp_path / "a", step=None)
        assert [draw(run), torch.rand(2, generator=run.generator("later")).tolist()] == drawn


def test_the_innermost_scope_is_saved_and_loaded(tmp_path: Path) -> None:
    with reproducible(seed=1) as outer:
        drawn = draw(outer)
        with reproducible(seed=2) as inner:
            save_checkpoint(tmp_path / "a")
            expected = draw(inner)
            load_checkpoint(tmp_path / "a")
            assert draw(inner) == expected
    with reproducible(seed=1) as outer:
        assert draw(outer) == drawn


def test_saving_draws_nothing_and_changes_nothing(tmp_path: Path) -> None:
    with reproducible(seed=1) as run:
        drawn = draw(run)
    with reproducible(seed=1) as run:
        save_checkpoint(tmp_path / "a", model=Plain(), x=torch.ones(2))
        assert draw(run) == drawn


@pytest.mark.usefixtures("warm_pythons")
def test_another_process_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    code = """
import random, sys, torch
from deterministic import load_checkpoint, reproducible, save_checkpoint
torch.set_num_threads(1)
with reproducible(seed=3) as run:
    if sys.argv[2] == "save":
        random.random()
        save_checkpoint(sys.argv[1], x={"a", "b"})
    else:
        assert load_checkpoint(sys.argv[1], x=0) == {"x": {"a", "b"}}
    print(random.random(), torch.rand(3).tolist(), torch.rand(1, generator=run.generator("s")).tolist())
"""
    path = str(tmp_path / "a")
    assert run_python(code, path, "save", PYTHONHASHSEED="0") == run_python(code, path, "load", PYTHONHASHSEED="0")


@pytest.mark.usefixtures("generators")
@pytest.mark.parametrize("inside", [True, False])
def test_what_was_saved_inside_is_not_loaded_outside_nor_the_reverse(inside: bool, tmp_path: Path) -> None:
    def in_place(inside: bool, function: Callable[[], Any]) -> None:
        if inside:
            with reproducible(seed=1):
                function()
        else:
            function()

    model = Plain()
    in_place(inside, lambda: save_checkpoint(tmp_path / "a", model=Plain(5)))
    with pytest.raises(ResumeMismatchError, match="the generators were saved in another place") as caught:
        in_place(not inside, lambda: load_checkpoint(tmp_path / "a", model=model, on_mismatch="warn"))
    words = ["outside of reproducible()", "inside of reproducible()"]
    assert f"saved: {words[inside]}\n  here: {words[not inside]}" in str(caught.value)
    assert model.value == 0


def set_threads(change: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


def set_flag(change: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark


def set_dtype(change: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float64)


def set_version(change: pytest.MonkeyPatch) -> None:
    from deterministic.sources import registry

    found = registry.versions()
    change.setattr(registry, "versions", lambda: {**found, "torch": "1.0.0"})


@pytest.fixture
def settings() -> Iterator[None]:
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype()
    yield
    torch.set_num_threads(before[0])
    torch.backends.cudnn.benchmark = before[1]
    torch.set_default_dtype(before[2])


CONDITIONS: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (set_threads, "settings.torch.threads.num_threads: saved {threads}, here {more}"),
    (set_flag, "settings.torch.cudnn.benchmark: saved False, here True"),
    (set_dtype, "settings.torch.default_dtype.dtype: saved 'torch.float32', here 'torch.float64'"),
    (set_version, "versions.torch: saved '{torch}', here '1.0.0'"),
]


@pytest.mark.usefixtures("generators", "settings")
@pytest.mark.parametrize(("change", "found"), CONDITIONS, ids=["threads", "flag", "dtype", "version"])
def test_other_conditions_are_named_and_nothing_is_touched(
    change: Callable[[pytest.MonkeyPatch], None], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    found = found.format(threads=threads, more=threads + 1, torch=torch.__version__)
    save_checkpoint(tmp_path / "a", model=Plain(5))
    drawn = torch.rand(3, dtype=torch.float32).tolist()
    change(monkeypatch)
    model, state = Plain(), torch.get_rng_state()
    with pytest.raises(ResumeMismatchError, match="was saved under other conditions") as caught:
        load_checkpoint(tmp_path / "a", model=model)
    assert found in str(caught.value).splitlines()[1]
    assert len(str(caught.value).splitlines()) == 3
    assert model.value == 0
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.warns(NondeterminismWarning, match="was saved under other conditions") as warned:
        load_checkpoint(tmp_path / "a", model=model, on_mismatch="warn")
    assert found in str(warned[0].message)
    assert warned[0].filename == __file__
    assert model.value == 5
    assert torch.rand(3, dtype=torch.float32).tolist() == drawn


@pytest.mark.usefixtures("generators", "settings")
def test_other_conditions_are_ranked_by_how_likely_they_alter_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "a", model=Plain(5))
    for change in (set_threads, set_version, set_dtype):
        change(monkeypatch)
    with pytest.raises(ResumeMismatchError) as caught:
        load_checkpoint(tmp_path / "a", model=Plain())
    _, *lines, _ = str(caught.value).splitlines()
    names = ["settings.torch.default_dtype.dtype", "versions.torch", "settings.torch.threads.num_threads"]
    assert [line.split(":")[0].strip() for line in lines] == names
    assert lines[0].endswith("(tensors have another precision)")
    assert container.read(tmp_path / "a", with_values=False).head["manifest"]["schema"] == 1


@pytest.mark.parametrize(
    ("here", "found"),
    [
        ({"seed": 2}, "seed: saved 1, here 2"),
        ({"seed": 1, "deterministic": False}, "deterministic: saved True, here False"),
    ],
)
def test_another_scope_is_named(here: dict[str, Any], found: str, tmp_path: Path) -> None:
    with reproducible(seed=1, deterministic=True):
        save_checkpoint(tmp_path / "a", model=Plain(5))
    model = Plain()
    with reproducible(**here) as run:
        drawn = draw(run)
    with reproducible(**here) as run:
        with pytest.raises(ResumeMismatchError) as caught:
            load_checkpoint(tmp_path / "a", model=model)
        assert draw(run) == drawn
    assert found in str(caught.value)
    assert model.value == 0


NAMES = [
    ({"a": 1, "b": 2}, {"a": 1}, ["b: saved, but not passed"]),
    ({"a": 1}, {"a": 1, "b": 2}, ["b: passed, but not saved"]),
    ({"a": 1}, {"b": 1}, ["a: saved, but not passed", "b: passed, but not saved"]),
    ({}, {"a": Plain()}, ["a: passed, but not saved"]),
    ({"a": Plain()}, {}, ["a: saved, but not passed"]),
]


@pytest.mark.parametrize(("saved", "here", "found"), NAMES)
def test_other_names_are_refused_and_nothing_is_touched(
    saved: dict[str, Any], here: dict[str, Any], found: list[str], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "a", model=Plain(5), **saved)
    model = Plain()
    with pytest.raises(ResumeMismatchError, match="does not fit what is to be loaded; nothing was changed") as caught:
        load_checkpoint(tmp_path / "a", model=model, on_mismatch="warn", **here)
    assert [line.strip() for line in str(caught.value).splitlines()[1:-1]] == found
    assert model.value == 0


def test_objects_are_loaded_and_values_are_returned(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", model=Plain(5), step=3, best=torch.tensor(0.5), path="x", self=1)
    model = Plain()
    found = load_checkpoint(tmp_path / "a", model=model, step=None, best=None, path=None, self=None)
    assert model.value == 5
    assert list(found) == ["step", "best", "path", "self"]
    assert (found["step"], found["best"].item(), found["path"], found["self"]) == (3, 0.5, "x", 1)


def test_what_is_returned_is_not_what_was_saved_from(tmp_path: Path) -> None:
    tensor = torch.zeros(3)
    save_checkpoint(tmp_path / "a", x=tensor)
    tensor += 1
    assert load_checkpoint(tmp_path / "a", x=None)["x"].tolist() == [0, 0, 0]


def test_a_file_that_was_loaded_can_be_replaced(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", x=torch.arange(100_000))
    loaded = load_checkpoint(tmp_path / "a", x=None)["x"]
    save_checkpoint(tmp_path / "a", x=torch.zeros(5))
    assert torch.equal(loaded, torch.arange(100_000))


@pytest.mark.usefixtures("generators")
def test_generators_that_do_not_fit_are_refused_before_an_object_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        save, "generator_states", lambda run: {"process": {**generator_states(run)["process"], "torch.cpu": 5}}
    )
    save_checkpoint(tmp_path / "a", model=Plain(5))
    model, state = Plain(), random.getstate()
    random.random()
    moved = random.getstate()
    with pytest.raises(ResumeMismatchError, match="fit this process"):
        load_checkpoint(tmp_path / "a", model=model)
    assert model.value == 0
    assert random.getstate() == moved != state


def test_streams_that_do_not_fit_are_refused_before_an_object_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        save, "generator_states", lambda run: {"run": {**generator_states(run)["run"], "numpy_streams": 5}}
    )
    with reproducible(seed=1):
        save_checkpoint(tmp_path / "a", model=Plain(5))
        monkeypatch.undo()
        model, moved = Plain(), random.getstate()
        with pytest.raises(ResumeMismatchError, match="nothing was moved"):
            load_checkpoint(tmp_path / "a", model=model)
        assert model.value == 0
        assert random.getstate() == moved


@pytest.mark.parametrize("choice", ["", "ignore", None, True])
def test_only_the_choices_are_taken(choice: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"on_mismatch= is not one of its choices\n  found: "):
        load_checkpoint(tmp_path / "a", on_mismatch=choice)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read\n  found: No such file or directory"):
        load_checkpoint(tmp_path / "a")

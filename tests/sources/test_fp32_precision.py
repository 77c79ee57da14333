"""Whatever writes slots runs in a fork: torch cannot take back the first write to cuda.conv or cuda.rnn."""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deterministic.ground.config import LEVELS, Config
from deterministic.ground.source import NOTHING
from deterministic.sources.fp32_precision import Fp32Precision
from deterministic.sources.registry import check_source

from ..properties import examples

# torch 2.9.0 says so when this file itself calls what is legacy.
pytestmark = pytest.mark.filterwarnings("ignore:Please use the new API settings:UserWarning")

C: Any = torch._C
HAS_SLOTS = hasattr(C, "_get_fp32_precision_getter")
GENERIC, CUDA, MKLDNN = PARENTS = [("generic", "all"), ("cuda", "all"), ("mkldnn", "all")]
MATMUL, CUDNN = [("cuda", "matmul"), ("mkldnn", "matmul")], [("cuda", "conv"), ("cuda", "rnn")]
CHILDREN = [*MATMUL, *CUDNN, ("mkldnn", "conv"), ("mkldnn", "rnn")]
LEGACY = ("_get_float32_matmul_precision", "_get_cudnn_allow_tf32", "_get_cublas_allow_tf32")


def put(slot: tuple[str, str], value: str) -> None:
    C._set_fp32_precision_setter(*slot, value)


CALLS: list[Callable[[], object]] = [
    *(functools.partial(torch.set_float32_matmul_precision, value) for value in ("highest", "high", "medium")),
    *(functools.partial(setattr, torch.backends.cudnn, "allow_tf32", value) for value in (False, True)),
    *(functools.partial(setattr, torch.backends.cuda.matmul, "allow_tf32", value) for value in (False, True)),
    *(functools.partial(put, *row) for row in itertools.product(PARENTS + CHILDREN, ("none", "ieee", "tf32", "bf16"))),
    functools.partial(put, MATMUL[0], "bfx9"),  # from torch 2.15 on
]


def call_some(rng: random.Random) -> None:
    for call in rng.choices(CALLS, k=rng.randint(0, 4)):
        with suppress(RuntimeError):
            call()


def forks(count: int) -> Callable[[Callable[[random.Random], None]], Callable[[], None]]:
    """Run a test in so many forks, each with its own random numbers."""

    def decorate(test: Callable[[random.Random], None]) -> Callable[[], None]:
        @pytest.mark.skipif(not (HAS_SLOTS and hasattr(os, "fork")), reason="needs torch >= 2.9 and fork")
        def run() -> None:
            for seed in range(count):
                pid = os.fork()
                if pid == 0:
                    sys.settrace(None)  # coverage's, whose lock a signal inside of it would leave locked
                    try:
                        test(random.Random(seed))
                    except BaseException:  # noqa: BLE001 - nothing may leave the child
                        traceback.print_exc()
                        os._exit(1)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0, f"seed {seed}: stderr has the child's traceback"

        run.__name__ = test.__name__
        return pytest.mark.slow(run) if count > 1 else run

    return decorate


def readings() -> dict[Any, object]:
    """Return all that anything can read."""
    found: dict[Any, object] = {slot: C._get_fp32_precision_getter(*slot) for slot in PARENTS + CHILDREN}
    for name in LEGACY:
        with suppress(RuntimeError):
            found[name] = getattr(C, name)()
    return found


def stored() -> dict[Any, Any]:
    """Return all that torch stores, by setting every parent to everything, in doubt or not: the reference."""
    get = C._get_fp32_precision_getter
    found: dict[Any, Any] = {GENERIC: get(*GENERIC)}
    seen: dict[Any, list[str]] = {slot: [] for slot in PARENTS[1:] + CHILDREN}
    for slots, parents in ((PARENTS[1:], [GENERIC]), (CHILDREN, PARENTS)):
        for value in ("none", "ieee", "tf32"):
            for parent in parents:
                put(parent, value)
            for slot in slots:
                seen[slot].append(get(*slot))
    for slot, (bare, *under) in seen.items():
        assert under in ([bare, bare], ["ieee", "tf32"])
        found[slot] = bare if under == [bare, bare] else {"none": "none", "tf32": "default"}[bare]
    for parent in PARENTS:
        put(parent, found[parent])
    explicit = [CUDA, *(slot for slot in CUDNN if found[slot] not in ("none", "default"))]
    found["matmul"] = agreed(found, MATMUL, (["ieee", "ieee"], ["tf32", "bf16"]), C._get_float32_matmul_precision)
    found["cudnn"] = agreed(found, explicit, (["tf32"] * 3, ["ieee"] * 3), C._get_cudnn_allow_tf32)
    return found


def agreed(found: dict[Any, Any], slots: list[Any], trials: tuple[list[str], ...], getter: Callable[[], Any]) -> Any:
    """Return what a legacy getter returns under the first of `trials` that it does not raise under."""
    values = []
    for trial in trials:
        for slot, value in zip(slots, trial, strict=False):
            put(slot, value)
        with suppress(RuntimeError):
            values.append(getter())
    for slot in slots:
        put(slot, found[slot])
    return values[0]


def check_exact(source: Any, rng: random.Random, trips: int) -> None:
    for _ in range(trips):
        call_some(rng)
        read, kept = readings(), stored()
        state = source.capture()
        assert (readings(), stored()) == (read, kept), "capture changes nothing"
        call_some(rng)
        lost = {slot for slot, value in stored().items() if kept[slot] == "default" != value}
        source.restore(state)
        found = stored()
        for slot in lost:
            stand_ins = ("tf32",) if kept[GENERIC] == kept[CUDA] == "none" else ("none", read[slot])
            assert found[slot] in stand_ins, "restore gives everything back"
            kept[slot] = found[slot]
        assert (readings(), found) == (read, kept), "restore gives everything back"
        assert lost or source.capture() == state


def recorded() -> tuple[Fp32Precision, list[str]]:
    """Return a source, and a list that fills with the names under which it calls torch."""
    source, calls = Fp32Precision(), list[str]()

    def record(name: str, function: Callable[..., Any], *args: Any) -> Any:
        calls.append(name)
        return function(*args)

    for name, function in vars(source).copy().items():
        if callable(function):
            setattr(source, name, functools.partial(record, name, function))
    return source, calls


def another_thread() -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    return pool


def test_no_config_changes_anything_and_the_contract_is_kept() -> None:
    source = Fp32Precision()
    assert all(source.apply(Config(seed, level)) is NOTHING for seed in (None, 1) for level in LEVELS)
    check_source(source)


@forks(examples(0.6))
def test_a_round_trip_is_exact_from_the_initial_state_on(rng: random.Random) -> None:
    check_exact(Fp32Precision(), rng, trips=8)


@forks(10)
def test_writing_back_what_is_read_fails_the_same_check(rng: random.Random) -> None:
    def restore(state: dict[Any, Any]) -> None:
        for slot in PARENTS + CHILDREN:
            put(slot, state[slot])

    with pytest.raises(AssertionError, match="restore gives everything back"):
        check_exact(SimpleNamespace(capture=readings, restore=restore), rng, trips=50)


@forks(examples(0.25))
def test_next_to_other_threads_saving_writes_nothing_and_what_is_read_round_trips(rng: random.Random) -> None:
    for _ in range(8):
        call_some(rng)
        read = readings()
        source, calls = recorded()
        crowded = rng.random() < 0.7
        with another_thread() if crowded else nullcontext():
            state = source.capture()
        assert readings() == read
        assert not (crowded and any(name.startswith("_set") for name in calls))
        matmul, cudnn = Fp32Precision().capture().legacy_raw
        # Nothing that can be read tells "high" from "medium" next to "bfx9".
        assert state.legacy_raw[0] == matmul or read[MATMUL[0]] == "bfx9"
        assert state.legacy_raw[1] in (cudnn, None)
        call_some(rng)
        with another_thread() if rng.random() < 0.7 else nullcontext():
            source.restore(state)
        assert readings() == read


@forks(1)
def test_next_to_other_threads_a_slot_in_doubt_is_as_it_was_seen_before_or_else_inherits(rng: random.Random) -> None:
    put(GENERIC, "tf32")
    put(MATMUL[0], "tf32")
    seen, unseen = Fp32Precision(), Fp32Precision()
    exact, kept = seen.capture(), stored()
    with another_thread():
        assert seen.capture() == exact
        guess = unseen.capture()
        put(MATMUL[1], "ieee")
        unseen.restore(guess)
    assert stored() == kept, "what reads as it did is left alone"
    with another_thread():
        put(MATMUL[0], "ieee")
        unseen.restore(guess)
    assert stored() == kept | {MATMUL[0]: "none"}
    with another_thread():
        put(GENERIC, "ieee")
        seen.restore(exact)
    assert stored() == kept


@forks(1)
def test_next_to_other_threads_a_default_is_not_lost_for_a_flag_that_cannot_be_read(rng: random.Random) -> None:
    put(CUDNN[1], "ieee")
    kept, state = stored(), Fp32Precision().capture()
    with another_thread():
        put(MATMUL[0], "tf32")
        Fp32Precision().restore(state)
    assert stored() == kept


@forks(1)
def test_a_signal_in_the_middle_of_a_capture_leaves_nothing_changed(rng: random.Random) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    source = Fp32Precision()
    signal.signal(signal.SIGALRM, interrupt)
    for _ in range(1000):
        call_some(rng)
        kept = stored()
        with suppress(InterruptedError):
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 1e-4))
            for _ in range(10_000):  # an exception that a finaliser swallows does not come again
                source.capture()
        assert stored() == kept


@forks(1)
def test_states_describe_equally_only_if_they_are_equal(rng: random.Random) -> None:
    by_text: dict[str, object] = {}
    for _ in range(500):
        call_some(rng)
        state = Fp32Precision().capture()
        text = json.dumps(Fp32Precision().describe(state), sort_keys=True)
        assert by_text.setdefault(text, state) == state
        described, read = json.loads(text), readings()
        for name, key in zip(("cuda.conv", "float32_matmul_precision"), (CUDNN[0], LEGACY[0]), strict=True):
            assert described[name] == read.get(key)
    assert len(set(by_text.values())) == len(by_text) > 100


@forks(1)
def test_in_the_initial_state_little_is_called_and_nothing_more_by_restoring(rng: random.Random) -> None:
    source, calls = recorded()
    state = source.capture()
    reading = ["_get"] * 9 + ["_get_matmul", "_get_cudnn"]
    assert calls == reading
    source.restore(state)
    assert calls == reading * 2
    put(CUDNN[0], "tf32")
    assert source.capture() == state, "and it is the same state once torch.backends.cudnn.flags() was used"


def test_a_torch_without_slots_has_its_legacy_flags_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    flags: dict[str, Any] = {"float32_matmul_precision": "highest", "cudnn_allow_tf32": True}
    for name in ("get", "set"):
        monkeypatch.delattr(torch._C, f"_{name}_fp32_precision_{name}ter", raising=False)
    for name in flags:
        monkeypatch.setattr(torch._C, f"_get_{name}", functools.partial(flags.get, name))
        monkeypatch.setattr(torch._C, f"_set_{name}", functools.partial(flags.__setitem__, name))
    source = Fp32Precision()
    before, state = flags.copy(), source.capture()
    flags.update(float32_matmul_precision="medium", cudnn_allow_tf32=False)
    source.restore(state)
    assert flags == before
    assert source.describe(state)["raw"] == {"float32_matmul_precision": "highest", "cudnn.allow_tf32": True}


def test_the_deprecation_warning_of_torch_2_9_0_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def getter() -> bool:
        warnings.warn("deprecated", stacklevel=2)
        return True

    monkeypatch.setattr(torch._C, "_get_cudnn_allow_tf32", getter)
    Fp32Precision().capture()

"""How precise float32 arithmetic is on CUDA and oneDNN: IEEE, TF32 or BF16, by the new settings and the legacy ones."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import starmap
from typing import Any, TypeAlias, TypeVar

import torch

from .._config import Config
from .base import JSON, NOTHING, Applied, Kind

T = TypeVar("T")
Slot: TypeAlias = tuple[str, str]
Legacy: TypeAlias = tuple["str | None", "bool | None"]

GENERIC, CUDA, MKLDNN = ("generic", "all"), ("cuda", "all"), ("mkldnn", "all")
MATMUL = (("cuda", "matmul"), ("mkldnn", "matmul"))
CUDNN = (("cuda", "conv"), ("cuda", "rnn"))
# Parents first: what a slot reads means something only once its parents are as they should be.
SLOTS: tuple[Slot, ...] = (GENERIC, CUDA, MKLDNN, *MATMUL, *CUDNN, ("mkldnn", "conv"), ("mkldnn", "rnn"))
NAMES = tuple(".".join(slot) for slot in SLOTS)
LEGACY_NAMES = ("float32_matmul_precision", "cudnn.allow_tf32")

INHERITS = "none"
# Our name for torch's hidden Float32Precision::DEFAULT (2.13): inherits, but is TF32 while no parent is set.
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Fp32State:
    """What `Fp32Precision.capture` returns.

    Attributes:
        reads: What each of `SLOTS` resolves to; empty where this torch has no slots.
        raw: What each of `SLOTS` itself holds: a precision, "none" (inherits) or "default".
        legacy_reads: What the two legacy getters return; None for one that raises.
        legacy_raw: What is stored behind them; None where that cannot be known.
        exact: Whether all of `raw` is known. About the capture and not about torch, so not compared.
    """

    reads: tuple[str, ...]
    raw: tuple[str, ...]
    legacy_reads: Legacy
    legacy_raw: Legacy
    exact: bool = field(compare=False)


class Fp32Precision:
    """The nine fp32_precision slots, float32_matmul_precision and cudnn.allow_tf32. No config asks to change them.

    What a slot holds can hide behind what it inherits. While this is the only Python thread, `capture` looks behind by
    setting parents for a moment. With other Python threads alive nothing is written while saving, since they would
    compute with it; a slot that is explicitly set to the very value that it would inherit is then given back as
    inheriting. No value that any operation reads differs.

    torch has no way back to "default", which cuda.conv and cuda.rnn hold until they are first set. They are given back
    as inheriting if a parent is set, else as "tf32": what they read is right until a parent changes.
    """

    name = "torch.fp32_precision"
    kind: Kind = "setting"

    def __init__(self) -> None:
        self._get: Any = getattr(torch._C, "_get_fp32_precision_getter", None)
        self._set: Any = getattr(torch._C, "_set_fp32_precision_setter", None)
        self._slots = SLOTS if self._get is not None else ()  # torch < 2.9: the legacy flags are all there is
        self._get_matmul = torch._C._get_float32_matmul_precision
        self._set_matmul: Callable[[str], Any] = torch._C._set_float32_matmul_precision
        self._get_cudnn = torch._C._get_cudnn_allow_tf32
        self._set_cudnn = torch._C._set_cudnn_allow_tf32
        self._get_cublas = torch._C._get_cublas_allow_tf32
        self._hushed = False

    def capture(self) -> Fp32State:
        reads = tuple(self._read(self._slots))
        raw, unclear = _deduce(reads)
        alone = _alone()
        if alone and unclear:
            raw = self._probe(raw, unclear)
        shown = self._read_legacy()
        held = shown if None not in shown else self._uncover(reads, raw, shown, alone)
        return Fp32State(reads, raw, shown, held, alone or not unclear)

    def apply(self, config: Config) -> Applied:
        return NOTHING

    def restore(self, state: Fp32State) -> None:
        now = self.capture()
        if now == state:
            return
        for slot, reads, raw, raw_now in zip(SLOTS, state.reads, state.raw, now.raw):
            # Where `raw` is a guess, and where "default" may still be there, only a wrong reading is worth a write.
            if (state.exact and not raw == raw_now == DEFAULT) or self._get(*slot) != reads:
                self._set(*slot, _settable(slot, state))

        # The legacy setters overwrite slots, so they come after, when the legacy getters show most, and only if needed.
        now = self.capture()
        (matmul, cudnn), (matmul_now, cudnn_now) = state.legacy_raw, now.legacy_raw
        overwritten: tuple[Slot, ...] = ()
        if matmul is not None and matmul != matmul_now:
            self._set_matmul(matmul)
            overwritten += MATMUL
        # Unknown next to a "default": the setter, which writes both slots, was never called, or was before.
        if cudnn is not None and cudnn != cudnn_now and not (cudnn_now is None and DEFAULT in now.raw):
            self._set_cudnn(cudnn)
            overwritten += CUDNN
        for slot in overwritten if state.raw else ():
            self._set(*slot, _settable(slot, state))

    def describe(self, state: Fp32State) -> dict[str, JSON]:
        reads: dict[str, JSON] = {**dict(zip(NAMES, state.reads)), **dict(zip(LEGACY_NAMES, state.legacy_reads))}
        raw: dict[str, JSON] = {**dict(zip(NAMES, state.raw)), **dict(zip(LEGACY_NAMES, state.legacy_raw))}
        return {**reads, "raw": raw}

    def _read(self, slots: Sequence[Slot]) -> list[str]:
        get = self._get
        return [get(backend, op) for backend, op in slots]

    def _read_legacy(self) -> Legacy:
        if self._hushed:
            return _or_none(self._get_matmul), _or_none(self._get_cudnn)
        # torch 2.9.0 warns once per process that these getters are deprecated: pytorch/pytorch#166286.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shown = _or_none(self._get_matmul), _or_none(self._get_cudnn)
        self._hushed = shown != (None, None)
        return shown

    def _peek(self, own: Mapping[Slot, str], changes: Mapping[Slot, str], look: Callable[[], T]) -> T:
        """Return what `look` sees under `changes`, and set those slots back to what they hold by themselves."""
        undo = [(*slot, own[slot]) for slot in changes]
        try:
            for slot, value in changes.items():
                self._set(*slot, value)
            return look()
        finally:
            # One call into C: no signal handler runs inside it, so a Ctrl-C cannot leave a slot changed.
            deque(starmap(self._set, undo), maxlen=0)

    def _probe(self, raw: tuple[str, ...], unclear: tuple[Slot, ...]) -> tuple[str, ...]:
        """Return what the slots hold, by changing what the `unclear` ones would inherit."""
        own = dict(zip(SLOTS, raw))
        parents = [slot for slot in unclear if slot[1] == "all"]
        children = [slot for slot in unclear if slot[1] != "all"]
        if parents:
            own.update(zip(parents, self._peek(own, {GENERIC: INHERITS}, partial(self._read, parents))))
        if children:
            look = partial(self._read, children)
            unset = {slot: INHERITS for slot in (GENERIC, CUDA, MKLDNN) if own[slot] != INHERITS}
            bare = self._peek(own, unset, look)
            under = self._peek(own, {(backend, "all"): "ieee" for backend, _ in children}, look)
            for slot, alone, ieee in zip(children, bare, under):
                own[slot] = alone if alone in (ieee, INHERITS) else DEFAULT
        return tuple(own.values())

    def _uncover(self, reads: tuple[str, ...], raw: tuple[str, ...], shown: Legacy, alone: bool) -> Legacy:
        """Return the two legacy values when a getter raises, which it does where its value and the slots disagree."""
        seen, own = dict(zip(SLOTS, reads)), dict(zip(SLOTS, raw))
        matmul, cudnn = shown
        tf32, conv, rnn = (seen[slot] == "tf32" for slot in (MATMUL[0], *CUDNN))
        if matmul is None and alone:
            matmul = self._peek(own, dict.fromkeys(MATMUL, "ieee"), partial(_or_none, self._get_matmul))
        elif matmul is None:
            # The third legacy getter raises unless it agrees with cuda.matmul, so it says whether this is "highest".
            allowed = _or_none(self._get_cublas)
            lowered = allowed if allowed is not None else not tf32
            matmul = "highest" if not lowered else "high" if seen[MATMUL[1]] == "bf16" else "medium"
        if cudnn is None and conv == rnn:
            cudnn = not conv
        elif cudnn is None and alone:
            both = {slot: "tf32" for slot in (CUDA, *CUDNN) if slot == CUDA or own[slot] not in (INHERITS, DEFAULT)}
            cudnn = self._peek(own, both, partial(_or_none, self._get_cudnn)) is not None
        return matmul, cudnn


def _alone() -> bool:
    """Return whether this is the only Python thread."""
    return len(sys._current_frames()) == 1


def _or_none(getter: Callable[[], T]) -> T | None:
    """Return the value of a legacy getter, or None where it raises because the new settings do not fit it."""
    try:
        return getter()
    except RuntimeError:
        return None


@lru_cache(maxsize=256)
def _deduce(reads: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Slot, ...]]:
    """Return what the slots may hold, inheriting first, and those for which this is one of several answers."""
    seen = dict(zip(SLOTS, reads))
    fits = {slot: _fits(slot, seen) for slot in seen}
    return tuple(fit[0] for fit in fits.values()), tuple(slot for slot, fit in fits.items() if len(fit) > 1)


def _fits(slot: Slot, seen: Mapping[Slot, str]) -> list[str]:
    """Return all that `slot` may hold."""
    backend, op = slot
    inherited = INHERITS if slot == GENERIC else seen[GENERIC] if op == "all" else seen[backend, "all"]
    if backend == "cuda" and inherited == "bf16":  # CUDA has no BF16 and takes it for nothing
        inherited = INHERITS
    fits = [DEFAULT] if slot in CUDNN and seen[slot] == (inherited if _parents_set(seen) else "tf32") else []
    fits += [INHERITS] if seen[slot] == inherited else []
    fits += [seen[slot]] if seen[slot] != INHERITS else []
    return fits or [INHERITS]


def _parents_set(seen: Mapping[Slot, str]) -> bool:
    return seen[CUDA] != INHERITS or seen[GENERIC] != INHERITS


def _settable(slot: Slot, state: Fp32State) -> str:
    """Return what to set `slot` to: what it held, or what reads the same where that was "default"."""
    seen, raw = dict(zip(SLOTS, state.reads)), dict(zip(SLOTS, state.raw))[slot]
    return raw if raw != DEFAULT else INHERITS if _parents_set(seen) else "tf32"

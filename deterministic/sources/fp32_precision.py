"""How precise float32 arithmetic is on CUDA and oneDNN: IEEE, TF32 or BF16, by the new settings and the legacy ones."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial
from itertools import starmap
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch

from ..ground.config import Config
from ..ground.source import NOTHING, Applied, JSON, SourceKind

T = TypeVar("T")
Legacy: TypeAlias = "tuple[str | None, bool | None]"

# Parents first: what a slot reads means something only once its parents are as they should be.
SLOTS = (
    *(("generic", "all"), ("cuda", "all"), ("mkldnn", "all"), ("cuda", "matmul"), ("mkldnn", "matmul")),
    *(("cuda", "conv"), ("cuda", "rnn"), ("mkldnn", "conv"), ("mkldnn", "rnn")),
)
GENERIC, CUDA, MKLDNN, CUDA_MATMUL, MKLDNN_MATMUL, CONV, RNN = range(7)
PARENT = (None, GENERIC, GENERIC, CUDA, MKLDNN, CUDA, CUDA, MKLDNN, MKLDNN)
NAMES = tuple(".".join(slot) for slot in SLOTS)
LEGACY_NAMES = ("float32_matmul_precision", "cudnn.allow_tf32")

INHERITS = "none"
# Our name for torch's hidden Float32Precision::DEFAULT (2.13): inherits, but is TF32 while no parent is set. Then an
# explicit "tf32" goes by this name as well, as restoring does the same for both: the usual state needs no probing.
DEFAULT = "default"


class Fp32State(NamedTuple):
    """What `Fp32Precision.capture` returns."""

    reads: tuple[str, ...]  # what each of `SLOTS` resolves to; empty where this torch has no slots
    raw: tuple[str, ...]  # what each of `SLOTS` itself holds: a precision, "none" (inherits) or "default"
    legacy_reads: Legacy  # what the two legacy getters return; None for one that raises
    legacy_raw: Legacy  # what is stored behind them; None where that cannot be known
    exact: bool  # whether all of `raw` is known. About the capture and not about torch, so not compared

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fp32State) and self[:-1] == other[:-1]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:-1])


class Fp32Precision:
    """The nine fp32_precision slots, float32_matmul_precision and cudnn.allow_tf32. No config asks to change them.

    What a slot holds can hide behind what it inherits. While this is the only Python thread, `capture` looks behind by
    setting parents for a moment. With other Python threads alive nothing is written while saving, since they would
    compute with it; a slot that is explicitly set to the very value that it would inherit is then given back as
    inheriting, unless a capture saw it before they started. No value that any operation reads differs.

    torch has no way back to "default", which cuda.conv and cuda.rnn hold until they are first set. They are given back
    as "tf32" if no parent is set, else as what reads the same: what they read is right until a parent changes.
    """

    name = "torch.fp32_precision"
    kind: SourceKind = "setting"

    def __init__(self) -> None:
        self._get: Any = getattr(torch._C, "_get_fp32_precision_getter", None)
        self._set: Any = getattr(torch._C, "_set_fp32_precision_setter", None)
        self._slots = SLOTS if self._get is not None else ()  # torch < 2.9: the legacy flags are all there is
        self._get_matmul = torch._C._get_float32_matmul_precision
        self._set_matmul: Callable[[str], None] = torch._C._set_float32_matmul_precision
        self._get_cudnn = torch._C._get_cudnn_allow_tf32
        self._set_cudnn = torch._C._set_cudnn_allow_tf32
        self._get_cublas = torch._C._get_cublas_allow_tf32
        self._probed: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._hushed = False

    def capture(self) -> Fp32State:
        reads = tuple(starmap(self._get, self._slots))
        guess = _guess(reads)
        raw, sure = guess.raw, not (guess.parents or guess.children)
        alone = len(sys._current_frames()) == 1  # the only Python thread
        if alone and not sure:
            raw = self._probed[reads] = self._probe(reads, guess)
        elif not sure:
            raw = self._probed.get(reads, raw)
        if self._hushed:
            return Fp32State(reads, raw, *self._legacy(reads, raw, alone), sure or alone)
        # torch 2.9.0 warns once per process that the legacy getters are deprecated: pytorch/pytorch#166286.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            legacy_reads, legacy_raw = self._legacy(reads, raw, alone)
        self._hushed = alone or legacy_reads != (None, None)
        return Fp32State(reads, raw, legacy_reads, legacy_raw, sure or alone)

    def apply(self, config: Config) -> Applied:
        return NOTHING

    def restore(self, state: Fp32State) -> None:
        now = self.capture()
        if now == state:
            return
        for slot, reads in enumerate(state.reads):
            # A guess, and a "default" that may still be there, are overwritten only where the reading is wrong.
            keep = not state.exact or state.raw[slot] == now.raw[slot] == DEFAULT
            if not keep or self._get(*SLOTS[slot]) != reads:
                self._set(*SLOTS[slot], _settable(state, slot))

        # The legacy setters also write slots, so they are used only for what now, with equal slots, still differs.
        now = self.capture()
        (matmul, cudnn), (matmul_now, cudnn_now) = state.legacy_raw, now.legacy_raw
        overwritten: list[int] = []
        if matmul is not None and matmul != matmul_now:
            self._set_matmul(matmul)
            overwritten += CUDA_MATMUL, MKLDNN_MATMUL
        # Next to a "default" it cannot have changed: its setter would have written both slots.
        if cudnn is not None and cudnn != cudnn_now and not (cudnn_now is None and DEFAULT in now.raw):
            self._set_cudnn(cudnn)
            overwritten += CONV, RNN
        for slot in overwritten if state.reads else ():
            self._set(*SLOTS[slot], _settable(state, slot))

    def describe(self, state: Fp32State) -> dict[str, JSON]:
        names = (*NAMES[: len(state.reads)], *LEGACY_NAMES)
        raw: dict[str, JSON] = dict(zip(names, (*state.raw, *state.legacy_raw), strict=True))
        return {**dict(zip(names, (*state.reads, *state.legacy_reads), strict=True)), "raw": raw}

    def _read(self, slots: Sequence[int]) -> list[str]:
        return [self._get(*SLOTS[slot]) for slot in slots]

    def _peek(self, raw: Sequence[str], changes: Collection[tuple[int, str]], look: Callable[[], T]) -> T:
        """Return what `look` sees under `changes`; afterwards those slots hold `raw` again."""
        undo = starmap(self._set, [(*SLOTS[slot], raw[slot]) for slot, _ in changes])
        try:
            for slot, value in changes:
                self._set(*SLOTS[slot], value)
            return look()
        finally:
            # One call into C: no signal handler runs inside it, so a Ctrl-C cannot leave a slot changed.
            deque(undo, maxlen=0)

    def _probe(self, reads: Sequence[str], guess: _Guess) -> tuple[str, ...]:
        """Return what all slots hold, by changing what those in doubt would inherit."""
        raw = list(guess.raw)
        if guess.parents:
            own = self._peek(raw, [(GENERIC, INHERITS)], partial(self._read, guess.parents))
            for slot, value in zip(guess.parents, own, strict=True):
                raw[slot] = value
        if guess.children:
            look = partial(self._read, guess.children)
            clear = [(slot, INHERITS) for slot in (GENERIC, CUDA, MKLDNN) if raw[slot] != INHERITS]
            own = self._peek(raw, clear, look) if clear else [reads[slot] for slot in guess.children]
            for slot, value, below in zip(guess.children, own, self._peek(raw, guess.ieee, look), strict=True):
                raw[slot] = value if value in (below, INHERITS) else DEFAULT
        return tuple(raw)

    def _legacy(self, reads: Sequence[str], raw: Sequence[str], alone: bool) -> tuple[Legacy, Legacy]:
        """Return what the legacy getters return and what is stored; they raise where that and the slots disagree."""
        try:
            shown: Legacy = (self._get_matmul(), self._get_cudnn())
            return shown, shown
        except RuntimeError:
            shown = matmul, cudnn = _or_none(self._get_matmul), _or_none(self._get_cudnn)
        if matmul is None and alone:
            agreed = [(CUDA_MATMUL, "ieee"), (MKLDNN_MATMUL, "ieee")]
            matmul = self._peek(raw, agreed, partial(_or_none, self._get_matmul))
        elif matmul is None:
            # A third legacy getter, which raises where cuda.matmul and "highest" disagree, tells it without a write.
            allowed = _or_none(self._get_cublas)
            lowered = reads[CUDA_MATMUL] != "tf32" if allowed is None else allowed
            matmul = "highest" if not lowered else "high" if reads[MKLDNN_MATMUL] == "bf16" else "medium"
        if cudnn is None and (reads[CONV] == "tf32") == (reads[RNN] == "tf32"):
            cudnn = reads[CONV] != "tf32"
        elif cudnn is None and alone:
            explicit = [slot for slot in (CONV, RNN) if raw[slot] not in (INHERITS, DEFAULT)]
            agreed = [(slot, "tf32") for slot in (CUDA, *explicit)]
            cudnn = self._peek(raw, agreed, partial(_or_none, self._get_cudnn)) is not None
        return shown, (matmul, cudnn)


class _Guess(NamedTuple):
    """What readings tell. `raw` is a guess for the parents and the children listed; `ieee` is what shows the latter."""

    raw: tuple[str, ...]
    parents: list[int]
    children: list[int]
    ieee: list[tuple[int, str]]


@lru_cache(maxsize=256)
def _guess(reads: tuple[str, ...]) -> _Guess:
    fits = [_fits(reads, slot) for slot in range(len(reads))]
    doubt = [slot for slot, fit in enumerate(fits) if len(fit) > 1]
    children = [slot for slot in doubt if slot > MKLDNN]
    ieee = [(parent, "ieee") for parent in (CUDA, MKLDNN) if any(PARENT[slot] == parent for slot in children)]
    return _Guess(tuple(fit[0] for fit in fits), [slot for slot in doubt if slot <= MKLDNN], children, ieee)


def _fits(reads: Sequence[str], slot: int) -> list[str]:
    """Return all that `slot` may hold."""
    parent, value = PARENT[slot], reads[slot]
    inherited = INHERITS if parent is None else reads[parent]
    default = inherited if _parent_set(reads) else "tf32"
    fits = [DEFAULT] if slot in (CONV, RNN) and value == default else []
    fits += [INHERITS] if value in (inherited, INHERITS) else []  # cuda.all reads "none" below "bf16"
    return fits + ([value] if value != INHERITS and fits != [DEFAULT] else [])


def _parent_set(reads: Sequence[str]) -> bool:
    return reads[CUDA] != INHERITS or reads[GENERIC] != INHERITS


def _settable(state: Fp32State, slot: int) -> str:
    """Return what to set `slot` to: what it held, or what reads the same if that is "default"."""
    if state.raw[slot] != DEFAULT:
        return state.raw[slot]
    return INHERITS if _parent_set(state.reads) else "tf32"


def _or_none(getter: Callable[[], T]) -> T | None:
    """Return the value of a legacy getter, or None where it raises because the new settings do not fit it."""
    try:
        return getter()
    except RuntimeError:
        return None

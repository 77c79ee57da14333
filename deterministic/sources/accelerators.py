"""The default generators of accelerators, without initialising a device that nobody has used yet.

Until the first use of CUDA, torch only queues what concerns its generators: seeds in `torch.cuda._lazy_seed_tracker`,
everything else in `torch.cuda._queued_calls`. At the first use it runs the queue, then the seeds. Until then these two
are saved, filled and put back, as the states of the generators are afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch

from ..errors import ResumeMismatchError
from ..ground.config import Config
from ..ground.seeds import torch_seed
from ..ground.source import NOTHING, Applied, JSON, Limit, SourceKind
from .base import digest, torch_state

# Looked up at every entry, and mostly not there: a getattr that fails on these two modules costs 1 us.
_TORCH, _TORCH_C = vars(torch), vars(torch._C)

# torch formats the stack for each queued seed, 100 us; it reads it only if the call fails.
_ORIGIN = ["queued by deterministic.reproducible\n"]

# By the names of torch and of Megatron and its like: manual_seed_all.<locals>.cb, _set_cuda_rng_state.<locals>.cb.
_RNG_CALL = re.compile("seed|rng_state")


class _Pending(NamedTuple):
    """A kind of device that is not initialised: the calls that wait for it, as torch holds them."""

    queue: tuple[Any, ...]
    seed_all: Any = None
    seed_current: Any = None
    seeds: tuple[Any, ...] = ()

    def calls(self) -> Iterator[Any]:
        """Yield the functions in the order in which torch would run them."""
        return (entry[0] for entry in (*self.queue, *self.seeds) if entry is not None)


# What is queued, or the state of each device, or None: nothing there, or to be left as it is.
QueueOrStates: TypeAlias = "_Pending | tuple[torch.Tensor, ...] | None"


class _Accelerator:
    """The generators of one kind of device, reached by the functions of a module."""

    name: str
    kind: SourceKind = "rng"

    def _module(self) -> Any:
        """Return the module, or None where there are no such generators."""
        raise NotImplementedError

    def capture(self) -> QueueOrStates:
        module = self._module()
        return None if module is None else tuple([module.get_rng_state(i) for i in range(module.device_count())])

    def apply(self, config: Config) -> Applied:
        if config.seed is None:
            return NOTHING
        seed = torch_seed(config.seed)
        return Applied({"seed": seed}) if self._seed(seed) else NOTHING

    def restore(self, state: QueueOrStates) -> None:
        module = self._module()
        if module is not None:
            for index, device in enumerate(state or ()):
                module.set_rng_state(device, index)

    def describe(self, state: QueueOrStates) -> dict[str, JSON]:
        if state is None:
            return {"initialized": False}
        if isinstance(state, _Pending):
            return {"initialized": False, "queued": [_describe_call(call) for call in state.calls()]}
        return {"initialized": True, "devices": [_describe_value(device) for device in state]}

    def encode(self, state: QueueOrStates) -> dict[str, Any]:
        if isinstance(state, _Pending):
            # A run that is resumed, and saved again before the device is used, must not lose the states it has loaded.
            *_, last = (None, *state.calls())
            state = last.args[1] if isinstance(last, partial) and last.func is _set_rng_states else None
        return {"initialized": state is not None, "states": list(state or ())}

    def decode(self, plain: dict[str, Any]) -> QueueOrStates:
        if type(plain["initialized"]) is not bool or not isinstance(plain["states"], list):
            raise ValueError(f"not a state of {self.name}")
        # Saved before the first use, so nothing had been drawn: what is seeded or queued now is what was then.
        if not plain["initialized"]:
            return None
        module, saved = self._module(), len(plain["states"])
        count = 0 if module is None else int(module.device_count())
        if saved != count:
            differs = f"{self.name} has another number of devices than the saved state"
            remedy = "Resume where as many devices are visible as there were when it was saved."
            raise ResumeMismatchError(differs, (f"found: {count}", f"expected: {saved}, as saved"), remedy)
        # torch.load(map_location=...) moves these to the device, where set_state refuses them.
        states = tuple(device.cpu() for device in plain["states"])
        now = self.capture()
        like = states if now is None or isinstance(now, _Pending) else now  # before the first use none is known
        for state, other in zip(states, like, strict=True):
            if state.dtype is not torch.uint8 or state.dim() != 1 or len(state) != len(other):
                raise ValueError(f"not a state of {self.name}: {state.dtype} of shape {[*state.shape]}")
        for state, generator in zip(states, getattr(module, "default_generators", ()), strict=False):
            torch_state(state, generator.device)
        return states

    def _seed(self, seed: int) -> bool:
        """Seed all generators, now or at initialisation; return whether there can be any."""
        module = self._module()
        if module is None:
            return False
        (getattr(module, "manual_seed_all", None) or module.manual_seed)(seed)
        return True


class LazyAccelerator(_Accelerator):
    """The default generators of all devices of torch.cuda, torch.xpu, or torch.mtia from the torch that has them."""

    def __init__(self, module_name: str) -> None:
        self.name = f"torch.{module_name}"
        self._init = f"_{module_name}_init"
        module = getattr(torch, module_name, None)
        # In torch 2.6 torch.mtia has the queue but neither generators nor seeds.
        self._bound: Any = module if hasattr(module, "default_generators") else None

    def _module(self) -> Any:
        return self._bound

    def capture(self) -> QueueOrStates:
        module = self._bound
        if module is None:
            return None
        if module.is_initialized():
            return tuple([generator.get_state() for generator in module.default_generators])
        # Also where torch was built without such devices: torch.manual_seed queues its seed all the same.
        queue, tracker = tuple(module._queued_calls), module._lazy_seed_tracker
        return _Pending(queue, tracker.manual_seed_all_cb, tracker.manual_seed_cb, tuple(tracker.call_order))

    def restore(self, state: QueueOrStates) -> None:
        module = self._bound
        # A child forked after initialisation can never use the device, and its queue never runs.
        if state is None or module is None or module._is_in_bad_fork():
            return
        if not isinstance(state, _Pending):  # queued where a checkpoint is loaded before the first use
            self._call_or_queue(partial(_set_rng_states, module, state))
            return
        with module._initialization_lock:
            if not module.is_initialized():
                tracker = module._lazy_seed_tracker
                tracker.manual_seed_all_cb, tracker.manual_seed_cb = state.seed_all, state.seed_current
                tracker.call_order = list(state.seeds)
                _put_back(module._queued_calls, state.queue)
                return
        # As if the first use came now: a new generator seeds itself at random (getDefaultCUDAGenerator in ATen's
        # CUDAGeneratorImpl.cpp), then the calls that were waiting run.
        for generator in module.default_generators:
            generator.seed()
        _replay(state)

    def _seed(self, seed: int) -> bool:
        module = self._bound
        if self._init not in _TORCH_C or module is None or not module._is_compiled() or module._is_in_bad_fork():
            return False
        self._call_or_queue(partial(_manual_seed, module, seed))
        return True

    def _call_or_queue(self, call: partial[None]) -> None:
        """Call it now, or at initialisation as the last of all queued calls."""
        module = self._bound
        # Another thread may be initialising: it has read the tracker, and a seed queued after that would be lost.
        with module._initialization_lock:
            if module.is_initialized():
                call()
            else:
                module._lazy_seed_tracker.queue_seed_all(call, _ORIGIN)


class Mps(_Accelerator):
    """The one generator of torch.mps; it lives on the host, so there is nothing to initialise."""

    name = "torch.mps"

    def _module(self) -> Any:
        # In this order: the first is false, and cheap, everywhere but on a Mac.
        usable = torch._C._has_mps and torch.backends.mps.is_available() and not torch.mps._is_in_bad_fork()
        return torch.mps if usable else None


class PrivateUse1(_Accelerator):
    """The generators of the backend behind `torch.utils.rename_privateuse1_backend`.

    A module that has `is_initialized` and `_queued_calls` (torch_npu) is not initialised. Of any other it is not known
    whether its functions initialise a device, and there is no other way to its generators.
    """

    name = "torch.privateuse1"

    def _module(self) -> Any:
        module, missing = _privateuse1()
        return None if module is None or missing or getattr(module, "_is_in_bad_fork", bool)() else module

    def capture(self) -> QueueOrStates:
        module = self._module()
        if module is None:
            return None
        return _Pending(tuple(module._queued_calls)) if _is_waiting(module) else super().capture()

    def apply(self, config: Config) -> Applied:
        module, missing = _privateuse1()
        if config.seed is None or module is None:
            return NOTHING
        if not missing:
            return super().apply(config)
        backend = f"torch.{torch._C._get_privateuse1_backend_name()}"
        reason = f"{backend} has no {'/'.join(missing)}: its generators are neither seeded nor given back."
        return Applied(limits=(Limit(backend, reason, "Seed it yourself, or use a version that has them."),))

    def restore(self, state: QueueOrStates) -> None:
        module = self._module()
        if module is None:
            return
        if not isinstance(state, _Pending):
            super().restore(state)
        elif _is_waiting(module):
            _put_back(module._queued_calls, state.queue)
        else:
            getattr(module, "seed_all", bool)()
            _replay(state)


def capturing() -> bool:
    """Return whether the current stream is capturing a graph, in which touching a generator raises or is recorded."""
    for module in (torch.cuda, torch.xpu):
        # Not all versions of torch.xpu have graphs.
        if module.is_initialized() and getattr(module, "is_current_stream_capturing", bool)():
            return True
    return False


def _manual_seed(module: Any, seed: int) -> None:
    for generator in module.default_generators:
        generator.manual_seed(seed)


def _set_rng_states(module: Any, states: tuple[torch.Tensor, ...]) -> None:
    for generator, state in zip(module.default_generators, states, strict=True):
        generator.set_state(state)


def _put_back(queue: list[Any], saved: tuple[Any, ...]) -> None:
    now = tuple(queue)
    if now != saved:
        # Anything else queued meanwhile sets up a library, which will not queue it twice: that has to stay.
        new = [entry for entry in now if entry not in saved and not _RNG_CALL.search(_call_name(entry[0]))]
        queue[:] = [*saved, *new]


def _replay(state: _Pending) -> None:
    for call in state.calls():
        if _RNG_CALL.search(_call_name(call)):
            call()


def _privateuse1() -> tuple[Any, list[str]]:
    """Return the backend's module, None where there is no backend, and what it lacks."""
    module = _TORCH.get(torch._C._get_privateuse1_backend_name())
    if module is None:
        return None, []
    needed = ("get_rng_state", "set_rng_state", "manual_seed_all", "device_count")
    return module, [function for function in needed if not hasattr(module, function)]


def _is_waiting(module: Any) -> bool:
    return hasattr(module, "_queued_calls") and hasattr(module, "is_initialized") and not module.is_initialized()


def _call_name(call: Any) -> str:
    function = call.func if isinstance(call, partial) else call
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _describe_call(call: Any) -> str:
    """Name a queued call and what it holds, such that two calls with one description do the same."""
    values: tuple[Any, ...] = (call,)
    if isinstance(call, partial) and call.func.__module__ == __name__:
        values = call.args[1:]
    elif str(getattr(call, "__module__", "")).startswith("torch."):
        values = tuple(cell.cell_contents for cell in getattr(call, "__closure__", None) or ())
    return f"{_call_name(call)}({_describe_value(values)})"


def _describe_value(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return digest(value.numpy().tobytes())
    if isinstance(value, tuple):
        return ", ".join(map(_describe_value, value))
    return str(value) if value is None or isinstance(value, (int, str, torch.device)) else f"{id(value):#x}"

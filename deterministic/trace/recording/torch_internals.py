"""What traces lean on in torch and is not documented; each has a fallback where a version may lack it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import torch
from torch.autograd import graph
from torch.fx import _lazy_graph_module
from torch.nn.modules import module
from torch.utils import _python_dispatch

engine: Any = graph._engine_run_backward
"""What begins every backward pass; `autograd` has it by the same name."""

autograd: Any = torch.autograd

BACKWARD: CodeType = engine.__code__
"""What is above this frame on the stack was called by autograd; what is below called `backward`."""

MODULE_CALL: CodeType = torch.nn.Module._call_impl.__code__
"""The frame around every module's `forward` and hooks."""

GENERATED_GRAPH: Any = getattr(_lazy_graph_module, "_LazyGraphModule", ())
"""What dynamo puts graphs into: called as a module the first time, and past that later."""

COMPILED = "_orig_mod"
"""What `torch.compile` puts between the path of a module and that of its parts."""

_step_wrapper = getattr(torch.optim.Optimizer, "profile_hook_step", None)

OPTIMIZER_STEP: CodeType | None = getattr(_step_wrapper and _step_wrapper(lambda self: None), "__code__", None)
"""The frame around every optimizer's step, the one that calls the hooks."""

MODULE_HOOKS: tuple[dict[int, Any], ...] = (
    module._global_forward_pre_hooks,
    module._global_forward_hooks,
    module._global_forward_hooks_always_called,
)
"""What every module calls before `forward` and after; and which of the latter also where an exception was raised."""

DYNAMO, INDUCTORS_CODE, INDUCTORS_GRAPH = "torch._dynamo", "torch._inductor.output_code", "CompiledFxGraph"
"""What compiles, and the class whose `__call__` runs every graph that inductor generated, forward and backward, of
modules and functions: torch has no hook for it."""

_KEYS_BEFORE = "saved_include_set"
"""A variable of what torch calls compiled code from: the dispatch keys, which it puts back."""

RUNS_COMPILED = hasattr(_python_dispatch.TorchDispatchMode, "ignore_compile_internals")
"""Whether compiled code runs compiled under a mode that asks for it.

Torch 2.6 has no way to ask. It runs what it met under a mode operation by operation for ever after; or, if the mode is
hidden from it, compiles it again in each call, until it gives up.
"""

_higher_order: dict[str, Any] = getattr(torch._ops, "_higher_order_ops", {})


class DispatchMode(_python_dispatch.TorchDispatchMode):
    """A dispatch mode of this thread's that is put in place and taken away by hand, in any order.

    It lies below the user's own modes, whichever were entered first: each `__exit__` of theirs takes the uppermost one
    off. It does not set the flags that `TorchDispatchMode.__enter__` sets: they are the process's, not the thread's.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]
        if not hasattr(_python_dispatch.TorchDispatchMode, "supports_higher_order_operators"):
            _pass_through_higher_order(cls)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from wrapping `__torch_dispatch__` so that dynamo skips it, which takes 2 us an operation.

        Dynamo is told to skip all of this package anyway: see `scope.reproducible`.
        """
        return False

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Let compiled code run compiled: without this, torch silently runs it operation by operation."""
        return True

    def enter(self) -> None:
        users = _take_modes()
        for mode in (self, *users):
            torch._C._push_on_torch_dispatch_stack(mode)

    def leave(self) -> None:
        """Take it away, if it is on this thread."""
        for mode in _take_modes():
            if mode is not self:
                torch._C._push_on_torch_dispatch_stack(mode)


def _take_modes() -> list[Any]:
    """Take the modes off the stack that are no infrastructure of torch's, and return them, the lowest first."""
    stack = _python_dispatch._get_current_dispatch_mode_stack()
    count = sum(getattr(mode, "_mode_key", None) is None for mode in stack)
    return [torch._C._pop_torch_dispatch_stack(None) for _ in range(count)][::-1]


def _pass_through_higher_order(mode: type) -> None:
    """Let `torch.cond` and its like run under a mode of this class: before torch 2.8 each must be told so."""

    def passing(operator: Any) -> Callable[..., Any]:
        return lambda mode, *args, **kwargs: mode.__torch_dispatch__(operator, (), args, kwargs)

    for operator in _higher_order.values():
        operator.python_key_table.setdefault(mode, passing(operator))


next_sequence_number: Callable[[], int] = getattr(torch._C._autograd, "_get_sequence_nr", lambda: 0)
"""Return the number that this thread's next autograd node gets: an operation's own node has the one before it."""

current_node: Callable[[], Any] = getattr(torch._C, "_current_autograd_node", lambda: None)
"""Return the node that is being evaluated on this thread, None outside of a backward pass."""


current_pass: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: -1)
"""Return the number of the backward pass that this thread is in, also once its last node is evaluated; else -1."""


def are_modes_put_back() -> bool:
    """Return whether dispatch modes will soon be as they were: at the end of a backward pass, or of a compiled call.

    The latter puts back the keys by which torch knows whether there is a mode: with one that came meanwhile nothing is
    recorded, and without one that was there no tensor can be made any more.
    """
    if current_node() is not None:
        return True
    frame: FrameType | None = sys._getframe(1) if DYNAMO in sys.modules else None
    while frame is not None and _KEYS_BEFORE not in frame.f_code.co_varnames:
        frame = frame.f_back
    return frame is not None


def sequence_number(node: Any) -> int:
    """Return the number that a node was given when the forward operation made it."""
    number: int = node._sequence_nr()
    return number


def works_for(thread: int) -> bool:
    """Return whether the running thread is this one, or one of autograd's on its behalf: those Python did not start."""
    own = threading.get_ident()
    stand_in = getattr(threading, "_DummyThread", ())  # by which Python knows those of autograd, at most
    return own == thread or (
        current_node() is not None
        and not any(one.ident == own and not isinstance(one, stand_in) for one in threading.enumerate())
    )


_FAKE, _FUNCTIONAL = torch._C._TorchDispatchModeKey.FAKE, torch._C._TorchDispatchModeKey.FUNCTIONAL
_modes_on_stack = torch._C._len_torch_dispatch_stack
_compiler_state = torch._guards._TLS
_tracing_state = torch._C._get_tracing_state


def is_only_described() -> bool:
    """Return whether operations are being described (FakeTensorMode, functionalization) or compiled, not run.

    `torch.jit.trace` runs them, but writes into its graph what is asked of tensors and the names of variables.
    """
    # Asking for an attribute that is not there takes ten times as long.
    if _compiler_state.__dict__.get("compile_context") is not None or _tracing_state() is not None:
        return True
    return _modes_on_stack() > 0 and (
        torch._C._get_dispatch_mode(_FAKE) is not None or torch._C._get_dispatch_mode(_FUNCTIONAL) is not None
    )


without_overrides = torch._C.DisableTorchFunctionSubclass
"""Let no `__torch_function__` of a subclass run."""

is_transformed: Callable[[torch.Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor
"""Return whether a tensor is what `torch.func` gives in place of another."""


def graphs_compiled() -> int:
    """Return how many graphs inductor has compiled in this process, as far as torch tells."""
    metrics = getattr(sys.modules.get("torch._dynamo.utils"), "compilation_time_metrics", {})
    return len(metrics.get("compile_fx_inner", ()))


def schema_of(function: Any) -> Any:
    """Return the schema of what is dispatched; None of what takes functions, as `torch.cond`."""
    return getattr(function, "_schema", None)


def version_of(tensor: torch.Tensor) -> int | None:
    """Return how often a tensor was written in place; None of one of inference mode, whose writes are not counted."""
    return None if tensor.is_inference() else tensor._version


def storage_key(tensor: torch.Tensor) -> Any:
    """Return what tells a tensor's storage apart from every other that is alive; None if it has none."""
    try:
        return tensor.untyped_storage()._cdata
    except RuntimeError:  # sparse tensors, and others that are made of several
        return None


def frame_of_module_call() -> FrameType | None:
    """Return the frame in which torch calls the module whose hook is running: it has its variables."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not MODULE_CALL:
        frame = frame.f_back
    return frame


def wait_for(value: Any) -> None:
    """Wait, as the next operation would, for the collective that a tensor, or what a DTensor has here, comes from."""
    if isinstance(value, torch.Tensor) and type(value) not in (torch.Tensor, torch.nn.Parameter):
        wait = getattr(getattr(value, "_local_tensor", value), "trigger_wait", None)
        if callable(wait):
            wait()


def keyword_arguments() -> Any:
    """Return the keyword arguments of the module whose pre-hook is running: torch gives them to no global hook."""
    frame = frame_of_module_call()
    return {} if frame is None else frame.f_locals.get("kwargs", {})


def default_generator(device: torch.device) -> torch.Generator | None:
    """Return what operations on a device draw from that are given no generator; None where it has none yet."""
    if device.type == "cpu":
        return torch.default_generator
    backend = getattr(torch, device.type, None)
    if device.type == "mps":
        return getattr(torch.mps, "_get_default_mps_generator", lambda: None)()
    generators = getattr(backend, "default_generators", ())
    index = backend.current_device() if backend is not None and device.index is None and generators else device.index
    return generators[index] if generators and index is not None and index < len(generators) else None


def is_one_generator(one: Any, other: Any) -> bool:
    """Return whether two Python objects stand for one generator."""
    return one is other or (other is not None and one._cdata == other._cdata)

"""What traces lean on in torch and is not documented; each has a fallback where a version may lack it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Protocol, cast

import torch
from torch.autograd import graph
from torch.fx import _lazy_graph_module
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

_step_wrapper = getattr(torch.optim.Optimizer, "profile_hook_step", None)

OPTIMIZER_STEP: CodeType | None = getattr(_step_wrapper and _step_wrapper(lambda self: None), "__code__", None)
"""The frame around every optimizer's step, the one that calls the hooks."""

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
        """Put it in place on this thread."""
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


class AutogradNode(Protocol):
    """The node that a backward pass is evaluating."""

    def name(self) -> str:
        """Return its name, "AddmmBackward0"."""

    def _sequence_nr(self) -> int:
        """Return the number that it was given when the forward operation made it."""


def _nothing() -> None:
    return None


next_sequence_number: Callable[[], int] = getattr(torch._C._autograd, "_get_sequence_nr", lambda: 0)
"""Return the number that this thread's next autograd node gets: an operation's own node has the one before it."""

current_node = cast("Callable[[], AutogradNode | None]", getattr(torch._C, "_current_autograd_node", _nothing))
"""Return the node that is being evaluated on this thread, None outside of a backward pass."""

_FAKE, _FUNCTIONAL = torch._C._TorchDispatchModeKey.FAKE, torch._C._TorchDispatchModeKey.FUNCTIONAL
_compiler_state = torch._guards._TLS


def is_only_described() -> bool:
    """Return whether operations are being described (FakeTensorMode, functionalization) or compiled, not run."""
    if getattr(_compiler_state, "compile_context", None) is not None:
        return True
    return torch._C._len_torch_dispatch_stack() > 0 and (
        torch._C._get_dispatch_mode(_FAKE) is not None or torch._C._get_dispatch_mode(_FUNCTIONAL) is not None
    )


is_transformed: Callable[[torch.Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor
"""Return whether a tensor is what `torch.func` gives in place of another."""


def graphs_compiled() -> int:
    """Return how many graphs inductor has compiled in this process, as far as torch tells."""
    metrics = getattr(sys.modules.get("torch._dynamo.utils"), "compilation_time_metrics", {})
    return len(metrics.get("compile_fx_inner", ()))


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


def keyword_arguments() -> Any:
    """Return the keyword arguments of the module whose pre-hook is running: torch gives them to no global hook."""
    frame = frame_of_module_call()
    return {} if frame is None else frame.f_locals.get("kwargs", {})

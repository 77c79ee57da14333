"""Private names of torch's that recordings lean on: all in one module, each with what for and since when."""

from __future__ import annotations

import ast
import re

import pytest

from deterministic.ground.torch_names import _is_there

from ..processes import ROOT
from ..test_torch_names import NOT_ON_A_CLASS, names_of, own_names, private_attributes_of

HOME = ROOT / "deterministic" / "trace" / "recording" / "torch_internals.py"
OTHERS = sorted({*HOME.parent.glob("*.py"), *(HOME.parent.parent / "comparing").glob("*.py")} - {HOME})

BEFORE = "2.6 or before"
NEEDED = {
    "torch._C._TorchDispatchModeKey.FAKE": ("is_only_described: FakeTensorMode", BEFORE),
    "torch._C._TorchDispatchModeKey.FUNCTIONAL": ("is_only_described: functionalization", BEFORE),
    "torch._C._functorch.is_functorch_wrapped_tensor": ("is_transformed: no leaf of torch.func's is stepped", BEFORE),
    "torch._C._get_dispatch_mode": ("is_only_described", BEFORE),
    "torch._C._get_tracing_state": ("is_only_described: torch.jit.trace", BEFORE),
    "torch._C._len_torch_dispatch_stack": ("is_only_described, at the least cost", BEFORE),
    "torch._C._pop_torch_dispatch_stack": ("a mode below those of the user", BEFORE),
    "torch._C._push_on_torch_dispatch_stack": ("a mode below those of the user", BEFORE),
    "torch._guards._TLS": ("is_only_described: dynamo is compiling", BEFORE),
    "torch.autograd.graph._engine_run_backward": ("steps by hand, and what autograd called", BEFORE),
    "torch.nn.Module._call_impl": ("the frame of a module's call", BEFORE),
    "torch.nn.modules.module._global_forward_hooks": ("one hook of an id of our own", BEFORE),
    "torch.nn.modules.module._global_forward_hooks_always_called": ("one hook of an id of our own", BEFORE),
    "torch.nn.modules.module._global_forward_pre_hooks": ("one hook of an id of our own", BEFORE),
    "torch.utils._python_dispatch._get_current_dispatch_mode_stack": ("which modes are the user's", BEFORE),
}
ASKED_FOR = {
    "_LazyGraphModule": ("what dynamo puts graphs into is no module of the user's", BEFORE),
    "_current_autograd_node": ("which node a backward pass evaluates", BEFORE),
    "_current_graph_task_id": ("the end of a backward pass, when no node is evaluated", BEFORE),
    "_local_tensor": ("what a DTensor has on this rank may be on its way", BEFORE),
    "_DummyThread": ("Python's, for threads that it did not start", BEFORE),
    "_get_default_mps_generator": ("the generator of mps", BEFORE),
    "_get_sequence_nr": ("the number of the next node", BEFORE),
    "_higher_order_ops": ("each is told of a mode, before 2.8", BEFORE),
    "_mode_key": ("which modes are infrastructure of torch's", BEFORE),
    "_schema": ("what an operation writes and draws", BEFORE),
    "ignore_compile_internals": ("compiled code runs compiled under a mode", "after 2.6"),
    "supports_higher_order_operators": ("torch.cond and its like under a mode", "2.8"),
}
"""By getattr or hasattr, with a substitute."""


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.name)
def test_no_other_module_of_recordings_has_one(file: object) -> None:
    text = file.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    tree = ast.parse(text)
    assert not [*names_of(tree)]
    assert {*private_attributes_of(tree)} - own_names() <= NOT_ON_A_CLASS.keys()
    assert not re.search(r"(get|has)attr\([^()]*\"_[a-z]\w*\"|\"torch\._", text)


def test_each_is_there_and_has_its_reason() -> None:
    text = HOME.read_text(encoding="utf-8")
    written = {*names_of(ast.parse(text))}
    asked_of = {"torch._C._autograd", "torch._ops"}
    assert {name for name in written - asked_of if not any(one.startswith(f"{name}.") for one in NEEDED)} == {*NEEDED}
    assert all(map(_is_there, NEEDED))
    asked = re.findall(r"(?:get|has)attr\(.*?\"(\w+)\"", text)
    assert {name for name in asked if name.startswith("_") and not name.endswith("__")} <= ASKED_FOR.keys()
    assert ASKED_FOR.keys() <= {*asked}

"""The state of the objects of a training, taken and put back exactly."""

from __future__ import annotations

import copy
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..errors import NondeterminismWarning, cut, type_error, warn
from ..ground.synonyms import OF_SCOPE, meant
from ..trace.recording.operations import tensors_in
from ..trace.recording.torch_internals import storage_key
from ..values.fingerprint import fingerprint, fingerprint_if_any
from ..values.sharded import is_sharded
from ..values.stateful import is_stateful
from .boxes import Sharded

_OF_EPOCHS = (
    "Write `for epoch in checkpoint.epochs(n):` for n epochs. Without every= and every_seconds= it saves at the end of "
    "each; every= counts steps."
)

_BROADCASTS = "require_forward_param_sync"  # DistributedDataParallel's, which a new one has as True


def require_stateful(stateful: Mapping[str, Any], known: Sequence[str] = ()) -> None:
    """Raise TypeError if one of the objects has no state: it may be one of the `known` arguments, misspelt."""
    for name, value in stateful.items():
        nodes = getattr(sys.modules.get("torchdata.nodes"), "Loader", ())
        if isinstance(value, nodes):
            raise type_error(
                f"{name}= cannot be resumed exactly: its state is less than where it is",
                (
                    "found: a Loader of torchdata.nodes, which leaves its sampler's generator out, and begins again "
                    "where it has come to its end",
                ),
                "Make a DataLoader with make_loader, or take torchdata's StatefulDataLoader.",
            )
        if not is_stateful(value):
            found = meant(name, value, known)
            remedy = (
                f"Pass the object itself, not its state_dict(); put a plain value into values[{name!r}]; make a "
                "DataLoader with make_loader or make_loader.like; pass generators to reproducible(generators=[...])."
            )
            if "epochs" in name:  # before what is near: every_n_epochs counts no steps
                remedy = _OF_EPOCHS
            elif found:
                remedy = f"Write {found[0]}={cut(found[1])}."
            elif any(map(is_stateful, _items(value))):
                remedy = (
                    f"Pass each of the {len(value)} under a name of its own: **{{f'{name}_{{i}}': one for i, one in "
                    f"enumerate({name}{'.values()' * isinstance(value, dict)})}}."
                )
            elif of_scope := meant(name, value, OF_SCOPE):
                remedy = f"Write `with reproducible({of_scope[0]}={cut(of_scope[1])}):` around the training."
            raise type_error(
                f"{name}= has no state_dict() and load_state_dict(state)",
                (f"found: {type(value).__name__}",),
                remedy,
            )


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return [*value] if isinstance(value, (list, tuple)) else []


def warn_of_parameters(stateful: Mapping[str, Any]) -> None:
    """Warn of parameters that an optimizer has and no object saves."""
    optimizers = {name: value for name, value in stateful.items() if isinstance(value, torch.optim.Optimizer)}
    others = (state_of(value) for name, value in stateful.items() if name not in optimizers)
    held = (tensor for state in others for tensor in tensors_in(state))
    saved = {storage_key(tensor) for tensor in held if not is_lazy(tensor)} if optimizers else set()
    for name, optimizer in optimizers.items():
        parameters = parameters_of(optimizer)
        count = sum(not is_lazy(parameter) and storage_key(parameter) not in saved for parameter in parameters)
        if count:
            warn(
                NondeterminismWarning,
                f"{name} has parameters that are not saved",
                (f"found: {count} of {len(parameters)} are in none of the objects that were passed",),
                "Pass the module that has them, too.",
            )


_KEEPS = {"Running": "_num_vals_seen", "MinMaxMetric": "min_val"}
"""Metrics of torchmetrics with more than their states (1.9; Lightning-AI/torchmetrics#3323): which attribute tells."""


def warn_of_metrics(stateful: Mapping[str, Any]) -> None:
    """Warn of states of torchmetrics' metrics that their `state_dict()` does not have, as is their default."""
    for name, module in stateful.items():
        parts = [*module.named_modules()] if isinstance(module, nn.Module) else []
        found = [(at, state) for at, part in parts if isinstance(state := getattr(part, "metric_state", None), dict)]
        # That of a collection has those of its metrics, which are parts as well.
        states = [f"{at}.{key}".lstrip(".") for at, state in found for key in state if not isinstance(state[key], dict)]
        held = module.state_dict() if states else {}
        if lost := [state for state in states if state not in held]:
            warn(
                NondeterminismWarning,
                f"{name} has states of metrics that its state_dict() does not have, so they are not saved",
                (f"found: {cut(', '.join(lost))}",),
                "Call persistent(True) of each metric, also of those inside of wrappers: they are among its modules().",
            )
        kept = {type(part).__name__ for _, part in parts if _KEEPS.get(type(part).__name__) in vars(part)}
        if kept and states:
            warn(
                NondeterminismWarning,
                f"{name} has metrics that keep in plain attributes how far they are, which no state_dict() has",
                (f"found: {', '.join(f'{_KEEPS[kind]} of {kind}' for kind in sorted(kept))}",),
                "Reset them at each epoch and save between two, or keep these attributes in values.",
            )


def states_of(stateful: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the state of each object, and each value."""
    return {name: state_of(value) if is_stateful(value) else {"value": value} for name, value in stateful.items()}


def state_of(value: Any) -> dict[str, Any]:
    """Return the state of an object; its tensors are the object's own, not copied.

    A module's is more than its `state_dict()`: the buffers that are not persistent, too, gradients that an accumulation
    has left, which parameters are frozen, which parts are not in training mode, and which DistributedDataParallel does
    not broadcast its buffers at its next forward pass: after one in `no_sync()`, or without gradients.
    """
    if not isinstance(value, nn.Module):
        return {"state": value.state_dict()}
    state = value.state_dict()
    buffers = {name: buffer for name, buffer in value.named_buffers(remove_duplicate=False) if name not in state}
    quiet = [name for name, part in value.named_modules() if not getattr(part, _BROADCASTS, True)]
    return {
        "state": dict(state),
        "versions": {name: dict(entry) for name, entry in getattr(state, "_metadata", {}).items()},
        "buffers": buffers,
        "gradients": {name: p.grad for name, p in value.named_parameters() if p.grad is not None},
        "modes": {
            "frozen": [name for name, p in value.named_parameters() if not p.requires_grad],
            "evaluating": [name for name, part in value.named_modules() if not part.training],
            **({"quiet": quiet} if quiet else {}),
        },
    }


def is_state(saved: object) -> bool:
    """Return whether something can be what `state_of` returned, or a value that was saved."""
    if not isinstance(saved, dict) or ("state" in saved) == ("value" in saved):
        return False
    if "gradients" not in saved:
        return True
    parts = [saved.get(name) for name in ("state", "versions", "buffers", "gradients", "modes")]
    return all(isinstance(part, dict) for part in parts) and all(
        isinstance({"quiet": [], **saved["modes"]}.get(name), list) for name in ("frozen", "evaluating", "quiet")
    )


def ties(saved: Mapping[str, Any], stateful: Mapping[str, Any]) -> list[str]:
    """Return which parameters of modules were one when they were saved and are not here, or the reverse."""
    here: dict[str, Any] = {}
    there: dict[str, Any] = {}
    for name, module in modules_in(stateful).items():
        for key, parameter in module.named_parameters(remove_duplicate=False):
            if isinstance(was := saved[name]["state"].get(key), torch.Tensor):
                here[f"{name}.{key}"], there[f"{name}.{key}"] = parameter, was
    before, now = _shared(there), _shared(here)
    found = [(before - now, "saved as one, here apart"), (now - before, "saved apart, here one")]
    return sorted(f"{', '.join(names)}: {how}" for groups, how in found for names in groups)


def _shared(tensors: Mapping[str, torch.Tensor]) -> set[tuple[str, ...]]:
    """Return the names of those that are the same memory."""
    places: dict[Any, list[str]] = {}
    for name, tensor in tensors.items():
        if not is_lazy(tensor) and not is_sharded(tensor) and tensor.numel() and (key := storage_key(tensor)):
            places.setdefault((key, tensor.storage_offset(), tensor.shape, tensor.stride()), []).append(name)
    return {tuple(names) for names in places.values() if len(names) > 1}


def problems(name: str, value: Any, saved: Mapping[str, Any]) -> list[str]:
    """Return why a saved state does not fit an object, as far as that can be told before it is touched."""
    if isinstance(value, nn.Module) != ("gradients" in saved):
        return [f"{name}: {'saved as a module, here none' if 'gradients' in saved else 'a module here, saved as none'}"]
    if isinstance(value, nn.Module):
        state = value.state_dict()
        lazy = {key for key, item in state.items() if isinstance(item, torch.Tensor) and is_lazy(item)}
        return [
            f"{name}.{key}: saved {_kind(saved['state'].get(key))}, here {_kind(state.get(key))}"
            for key in dict.fromkeys([*saved["state"], *state])
            if key not in lazy and _kind(saved["state"].get(key)) != _kind(state.get(key))
        ]
    if isinstance(value, torch.optim.Optimizer):
        try:
            groups = [len(group["params"]) for group in saved["state"]["param_groups"]]
        except (TypeError, LookupError):
            return [f"{name}: an optimizer here, saved as something else"]
        sizes = [len(group["params"]) for group in value.param_groups]
        return [f"{name}: saved with parameters in groups {groups}, here {sizes}"] * (groups != sizes)
    return []


def load(value: Any, saved: Mapping[str, Any]) -> None:
    """Put an object back to where its state was taken."""
    if isinstance(value, nn.Module):
        _load_module(value, saved)
        return
    state = saved["state"]
    # Some take entries out of it, as CyclicLR does, or keep its lists. Copies of the tensors would be too large.
    value.load_state_dict(copy.deepcopy(state, {id(tensor): tensor for tensor in tensors_in(state)}))
    if isinstance(value, torch.optim.Optimizer):
        _undo_casts(value, state)


def trained(stateful: Mapping[str, Any]) -> dict[str, int]:
    """Return how many parameters of each optimizer belong to the modules beside it."""
    own = {id(parameter) for module in modules_in(stateful).values() for parameter in module.parameters()}
    return {
        name: sum(id(parameter) in own for parameter in parameters_of(value))
        for name, value in stateful.items()
        if isinstance(value, torch.optim.Optimizer)
    }


def _load_module(module: nn.Module, saved: Mapping[str, Any]) -> None:
    state: Any = OrderedDict(saved["state"])
    state._metadata = OrderedDict(saved["versions"])
    module.load_state_dict(state)
    for name, buffer in saved["buffers"].items():
        owner, _, own_name = name.rpartition(".")
        holder = module.get_submodule(owner)
        current = getattr(holder, own_name, None)
        if isinstance(current, torch.Tensor) and _kind(current) == _kind(buffer):
            with torch.no_grad():
                current.copy_(buffer)
        else:  # made while it ran, as caches are
            setattr(holder, own_name, buffer)
    for name, parameter in module.named_parameters():
        gradient = saved["gradients"].get(name)
        parameter.grad = None if gradient is None else gradient.to(parameter.device)
        parameter.requires_grad_(name not in saved["modes"]["frozen"])
    for name, part in module.named_modules():
        part.training = name not in saved["modes"]["evaluating"]
        if hasattr(part, _BROADCASTS):
            setattr(part, _BROADCASTS, name not in saved["modes"].get("quiet", ()))


def _undo_casts(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give the state its dtypes back: `Optimizer.load_state_dict` casts it to those of the parameters."""
    if "param_groups" not in saved:
        return
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    for number, parameter in zip(numbers, parameters_of(optimizer), strict=True):
        state = optimizer.state.get(parameter, {})
        for key, item in saved["state"].get(number, {}).items():
            loaded = state.get(key)
            if isinstance(item, torch.Tensor) and isinstance(loaded, torch.Tensor) and loaded.dtype != item.dtype:
                state[key] = item.to(loaded.device)


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the parameters of all groups, in order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def owners_of(stateful: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Return for each optimizer, by its name, the first module beside it that has all of its parameters."""
    found: dict[str, nn.Module] = {}
    for module in [*modules_in(stateful).values()][::-1]:
        own = {id(parameter) for parameter in module.parameters()}
        for name, value in stateful.items():
            if isinstance(value, torch.optim.Optimizer) and own.issuperset(map(id, parameters_of(value))):
                found[name] = module
    return found


def names_of_parameters(stateful: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what the parameters of each optimizer are called, in their order, in the module that has them."""
    names: dict[str, list[str]] = {}
    for optimizer, module in owners_of(stateful).items():
        called = {id(parameter): name for name, parameter in module.named_parameters()}
        names[optimizer] = [called[id(parameter)] for parameter in parameters_of(stateful[optimizer])]
    return names


def modules_in(stateful: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Return the modules among objects, by name."""
    return {name: value for name, value in stateful.items() if isinstance(value, nn.Module)}


def first_difference(saved: Any, current: Any, path: str = "") -> str | None:
    """Return the path of the first value that is not, bit for bit, what was saved; None if all are."""
    if isinstance(saved, Mapping) and isinstance(current, Mapping):
        if saved.keys() != current.keys():
            return f"{path}: saved with {sorted(map(str, saved))}, here {sorted(map(str, current))}"
        pairs = [(f"{path}.{key}", item, current[key]) for key, item in saved.items()]
    elif isinstance(saved, (list, tuple)) and isinstance(current, (list, tuple)) and len(saved) == len(current):
        pairs = [(f"{path}[{index}]", *two) for index, two in enumerate(zip(saved, current, strict=True))]
    elif (fingerprint_if_any(saved) or saved) == (fingerprint_if_any(current) or current):
        return None
    else:
        return f"{path}: saved {_short(saved)}, here {_short(current)}"
    return next((difference for name, one, other in pairs if (difference := first_difference(one, other, name))), None)


def _kind(value: Any) -> str:
    if isinstance(value, (torch.Tensor, Sharded)):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    return "nothing" if value is None else type(value).__name__


def _short(value: Any) -> str:
    is_tensor = isinstance(value, torch.Tensor)
    return f"{_kind(value)} {fingerprint(value, full=False)[:8]}" if is_tensor else repr(value)[:80]

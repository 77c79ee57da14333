"""Directories of torch.distributed.checkpoint, for tools that read or write nothing else: `to_dcp` and `from_dcp`."""

from __future__ import annotations

import inspect
import os
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import CheckpointError, cut, value_error
from ..ground.ranks import Ranks, the_ranks
from ..values.stateful import is_stateful
from . import container
from .directory import refusal
from .load import of_ranks
from .ranks import together
from .spread import put_together
from .stateful import modules_in, owners_of


def to_dcp(path: str | os.PathLike[str], directory: str | os.PathLike[str], /) -> None:
    """Write what `save_checkpoint` or a Checkpoint saved as a directory of torch.distributed.checkpoint.

    It needs the files alone, also of a training on many ranks: one process calls it, without a process group and
    without the objects, and has memory for all of the tensors. Each object stands under the name that it was saved by,
    as torch's `get_state_dict` names what is in it: `{"model": {"0.weight": ...}, "optimizer": {"state": {"0.weight":
    {"exp_avg": ...}}, "param_groups": ...}}`. Left out is what `get_state_dict` does not have: generators, gradients,
    buffers that are not persistent, `Checkpoint.values`. It touches no state; thread-safe but for filters of warnings.

    Args:
        path: Of the file; of a Checkpoint that of a step, `"runs/a/step-00000100.safetensors"`.
        directory: Where to write; made if it is not there. It must be empty.

    Raises:
        CheckpointError: A file cannot be read or is damaged, the directory is not empty, the file does not say what the
            optimizer's parameters are called, or torch refuses. Nothing in the directory is a checkpoint then.

    Example:
        >>> import tempfile, torch
        >>> from deterministic import save_checkpoint
        >>> from deterministic.checkpoint import from_dcp, to_dcp
        >>> folder, model = tempfile.mkdtemp(), torch.nn.Linear(2, 2)
        >>> save_checkpoint(f"{folder}/a.safetensors", model=model, step=3)
        >>> to_dcp(f"{folder}/a.safetensors", f"{folder}/dcp")
        >>> from_dcp(f"{folder}/dcp", model=model, step=0)
        {'step': 3}
    """
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    content = container.read(path)
    saved = of_ranks(content, Path(path), Ranks())
    objects = put_together(saved, dict.fromkeys(saved.objects)).objects
    names = content.values.get("parameters", {})
    state = {name: _exported(path, name, one, names) for name, one in objects.items()}
    if os.path.lexists(directory) and (not os.path.isdir(directory) or os.listdir(directory)):
        raise refusal(f"{os.fspath(directory)} is no empty directory", "something that is there", "Pass a new one.")
    alone: dict[str, Any] = {"no_dist": True} if "no_dist" in inspect.signature(save).parameters else {}
    writer = FileSystemWriter(directory)
    _told(lambda: save(state, storage_writer=writer, **alone), f"{os.fspath(path)} cannot be written as a directory")


def from_dcp(directory: str | os.PathLike[str], /, **stateful: Any) -> dict[str, Any]:
    """Load objects from a directory of torch.distributed.checkpoint, without running what its pickles say.

    Its metadata are a pickle, which torch's own `load` runs. Here they are read by an unpickler that makes torch's
    descriptions of tensors and nothing else, and values beside tensors by `torch.load(weights_only=True)`. There are no
    checksums in it, so a byte that was changed is not noticed. Under torch.distributed every rank calls it, and reads
    what it needs. Generators, conditions and gradients are not in it: go on with `save_checkpoint` or a Checkpoint.

    Args:
        directory: Where torch.distributed.checkpoint, or `to_dcp`, has written.
        stateful: By the names that they have there: modules and their optimizers, saved as torch's `get_state_dict`
            returns them; other objects with a state; of a value it does not matter what is given.

    Returns:
        The values of those names that are no objects with a state.

    Raises:
        ValueError: None of the modules has all parameters of an optimizer.
        CheckpointError: Something is not there, has another shape, is more than data, or cannot be read; on all ranks.
            If it is a file of tensors that cannot be read, objects may have been changed.
    """
    from torch.distributed.checkpoint import state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    from .dcp_reading import DataPlanner, DataReader

    owners = owners_of(stateful)
    state: dict[str, Any] = {}
    for name, value in stateful.items():
        if isinstance(value, nn.Module):
            state[name] = state_dict.get_model_state_dict(value)
        elif name in owners:
            state[name] = state_dict.get_optimizer_state_dict(owners[name], value)
        elif isinstance(value, torch.optim.Optimizer):
            modules = ", ".join(modules_in(stateful)) or "no module"
            differs = f"no module has all parameters of {name}"
            raise value_error(differs, (f"found: {modules}",), "Pass its module, too.")
        else:
            state[name] = value.state_dict() if is_stateful(value) else value
    reader, differs = DataReader(directory), f"{os.fspath(directory)} cannot be loaded"
    together(lambda: _told(reader.read_metadata, differs))
    _told(lambda: load(state, storage_reader=reader, planner=DataPlanner()), differs)
    for name, value in stateful.items():
        if isinstance(value, nn.Module):
            state_dict.set_model_state_dict(value, state[name])
        elif name in owners:
            state_dict.set_optimizer_state_dict(owners[name], value, state[name])
        elif is_stateful(value):
            value.load_state_dict(state[name])
    return {name: state[name] for name, value in stateful.items() if not is_stateful(value)}


def _exported(path: Any, name: str, saved: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Any:
    """Return a saved state, of an optimizer with the names of parameters in place of their numbers."""
    state = saved["state"] if "state" in saved else saved["value"]
    if "state" not in saved or not isinstance(state, dict) or not {"state", "param_groups"} <= state.keys():
        return state
    try:
        numbers = [number for group in state["param_groups"] for number in group["params"]]
        called = dict(zip(numbers, names[name], strict=True))
        groups = [{**one, "params": [called[number] for number in one["params"]]} for one in state["param_groups"]]
        return {"state": {called[number]: of for number, of in state["state"].items()}, "param_groups": groups}
    except (LookupError, TypeError, ValueError) as error:
        raise refusal(
            f"{os.fspath(path)} does not say what the parameters of {name} are called",
            f"names of: {', '.join(map(str, names)) or 'no optimizer'}",
            "Load it, and save the optimizer again beside the module that has its parameters.",
        ) from error


def _told(work: Callable[[], object], differs: str) -> None:
    """Let torch write or read; what it raises, which no `except Exception` would catch, is raised as an error of ours.

    It warns of one process, also where that is asked for.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*in a single process", UserWarning)
            work()
    except (CheckpointException, OSError, pickle.UnpicklingError, EOFError) as error:
        failures = getattr(error, "failures", None) or {the_ranks().rank: (error, None)}
        for failure, _ in failures.values():
            if isinstance(failure, CheckpointError):
                raise failure from None
        rank, (failure, _) = next(iter(failures.items()))
        problem = f"{type(failure).__name__} on rank {rank}: {cut(str(failure))}"
        remedy = "Pass a directory that is whole, and objects with the names and shapes that are in it."
        raise refusal(differs, problem, remedy) from error

"""What goes by another name elsewhere, and what to write here: arguments, options of the command line, functions."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Collection, Mapping
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from ..errors import cut, type_error

P = ParamSpec("P")
R = TypeVar("R")

_ARGUMENTS: Mapping[str, str] = {
    "seed": "base_seed global_seed manual_seed random_seed random_state rng_seed",
    "runs": "n n_repeats n_runs num_runs repeat repeats repetitions times trials",
    "every": "checkpoint_every every_iter every_n_steps every_n_train_steps every_step every_steps freq interval "
    "save_every save_freq save_interval save_steps",
    "keep": "keep_last keep_last_n max_checkpoints max_to_keep save_top_k save_total_limit",
    "directory": "checkpoint_dir ckpt_dir dir dirname dirpath folder output_dir path root root_dir save_dir",
    "batch_size": "batch batchsize bs",
    "block_size": "blocksize shuffle_block_size",
    "num_workers": "n_workers workers",
    "num_threads": "n_threads threads",
    "world_sizes": "nproc nproc_per_node num_processes ranks world_size",
}
"""By the name that an argument has here: those that it has elsewhere."""

OTHER_LEVELS: Mapping[str, tuple[Any, Any]] = {
    "warn_only": ("warn", True),
    **dict.fromkeys(("cudnn", "cudnn_deterministic", "deterministic_cudnn"), ("cudnn", False)),
    **dict.fromkeys(("benchmark", "cudnn_benchmark"), (False, True)),
    **dict.fromkeys(("deterministic_algorithms", "use_deterministic_algorithms"), (True, False)),
}
"""Arguments elsewhere that are levels of `deterministic=` here: where they are true, and where they are not."""

_LESS: Mapping[Any, str] = {
    False: "which only seeds; deterministic=True covers every operation",
    "cudnn": "which covers cuDNN alone; deterministic=True covers every operation",
}
"""What is said of a level that does less than people who ask for one may think."""

_FUNCTIONS: Mapping[str, str] = {
    "seed_everything(42)": "fix_seed fix_seeds manual_seed seed seed_all set_global_seed set_random_seed set_seed "
    "set_seeds setup_seed",
    "reproducible(seed=42)": "fork_rng isolate_rng seed_context temp_seed temporary_seed",
    "seed_worker": "pl_worker_init_function worker_init worker_init_fn",
    "reproducible(seed=42, deterministic=True)": "enable_full_determinism make_deterministic set_deterministic "
    "set_determinism use_deterministic_algorithms",
    "make_loader(dataset, batch_size=32, shuffle=True)": "DataLoader Dataloader dataloader get_loader loader",
    "verify(train, runs=3)": "check check_reproducibility is_reproducible verify_reproducibility",
}
"""By the call that does it here: the names of functions that do it elsewhere."""

_OFF = ("0", "false", "no", "off")

OF_SCOPE = ("seed", "deterministic", "num_threads")  # arguments of `reproducible` that are looked for elsewhere, too

_WORKERS = "make_loader seeds the workers of its loaders; a plain DataLoader takes worker_init_fn=seed_worker."


def _close(name: str, known: Collection[str], cutoff: float) -> list[str]:
    from difflib import get_close_matches  # here: who spells well needs none of it

    return get_close_matches(name, known, n=1, cutoff=cutoff)


def meant(name: str, value: object, known: Collection[str]) -> tuple[str, object] | None:
    """Return which of the `known` arguments somebody means who calls it `name`, and its value; None if that is open."""
    name = name.lower()
    if name in OTHER_LEVELS and "deterministic" in known:
        return "deterministic", OTHER_LEVELS[name][isinstance(value, (int, str)) and str(value).lower() in _OFF]
    ours = next((ours for ours, others in _ARGUMENTS.items() if name in others.split()), name)
    close = [ours] if ours in known else _close(name, known, 0.7)
    return (str(close[0]), value) if close else None


def refuse_unknown(call: str, given: Mapping[str, object], known: Collection[str], scope: str = "") -> None:
    """Raise a TypeError for the first argument that a call does not have; `scope` is where those of a scope go."""
    for name, value in given.items():
        if name not in known:
            remedy = f"help(deterministic.{call}) says what each of them is for."
            if "workers" in name and "seed" in known:
                remedy = _WORKERS
            if found := meant(name, value, (*known, *OF_SCOPE) if scope else known):
                shown = cut(found[1]) if isinstance(found[1], (bool, int, float, str)) else "..."
                written = f"{found[0]}={shown}"
                less = _LESS.get(found[1]) if found[0] == "deterministic" and shown != "..." else None
                remedy = f"Write {written if found[0] in known else scope.format(written)}{f', {less}' * bool(less)}."
            values = (f"found: {name}=", f"expected: {', '.join(known)}")
            raise type_error(f"{call}() has no such argument", values, remedy)


def explained(example: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function such that a call with other arguments than it has is told of; `example` is a right call."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except TypeError:
                _refuse(example, inspect.signature(function).parameters, args, kwargs)
                raise

        return call

    return decorate


def _refuse(
    example: str, parameters: Mapping[str, inspect.Parameter], args: tuple[object, ...], given: Mapping[str, object]
) -> None:
    call, kinds = example.partition("(")[0], [parameter.kind for parameter in parameters.values()]
    if more := args[sum(kind in _BY_PLACE for kind in kinds) :]:
        values = tuple(f"found: a value of type {type(value).__name__} without a name" for value in more)
        levels = [value for value in more if call == "reproducible" and value in (False, "cudnn", "warn")]
        written = example.replace("=True", f"={levels[0]!r}") if levels else example
        raise type_error(f"{call}() takes all other arguments by name", values, f"Write {written}.")
    for parameter, value in zip(parameters.values(), args, strict=False):
        if "Path" in str(parameter.annotation) and not isinstance(value, (str, os.PathLike)):
            values = (f"found: {cut(value)} ({type(value).__name__})", "expected: a str or a pathlib.Path")
            raise type_error(f"{parameter.name} of {call}() is not a path", values, f"Write {example}.")
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        around = "`with reproducible({}):` around it" if call == "record" else ""
        refuse_unknown(call, given, [name for name in parameters if name != "self"], around)
    # What has to be there, and is not: one of those given may be it.
    missing = [name for name in [*parameters][len(args) :] if _is_required(parameters[name]) and name not in given]
    refuse_unknown(call, {name: value for name, value in given.items() if meant(name, value, missing)}, missing)


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD


def no_such_name(name: str, known: Collection[str], frame: FrameType) -> Exception:
    """Return what is raised for a public name that this library does not have, and that is looked up in `frame`."""
    text = f"module 'deterministic' has no attribute {name!r}"
    close = _close(name, known, 0.8)
    if found := next((call for call, others in _FUNCTIONS.items() if name in others.split()), "".join(close)):
        text = f"{text}; write deterministic.{found}"
    from opcode import opmap

    # Of `from deterministic import name` Python would tell in words of its own, and leave out what to write.
    is_from = frame.f_code.co_code[frame.f_lasti] == opmap.get("IMPORT_FROM")
    return ImportError(text, name="deterministic") if is_from else AttributeError(text)

"""Which of several libraries runs an operation."""

from __future__ import annotations

from typing import Any

import torch
import torch.backends.mha
import torch.backends.opt_einsum

from .base import Flag, FlagSource, to_json, torch_flag

_UNSET = "unset"


def _opt_einsum_flag(name: str) -> Flag:
    # Two places hold it: an attribute of the module object, where the public assignment goes and which wins, and the
    # variable under it, where torch.backends.opt_einsum.flags() goes. The functions that set the latter refuse a
    # strategy while opt_einsum is disabled or not installed.
    module = torch.backends.opt_einsum
    assigned, variables = vars(module), module._get_enabled.__globals__

    def get() -> tuple[Any, Any]:
        return assigned.get(name, _UNSET), variables[name]

    def set_(value: tuple[Any, Any]) -> None:
        if value[0] is _UNSET:
            assigned.pop(name, None)
        else:
            assigned[name] = value[0]
        variables[name] = value[1]

    return Flag(f"opt_einsum_{name}", get, set_, lambda value: to_json(value[1] if value[0] is _UNSET else value[0]))


def _enum_flag(name: str, getter: str, setter: str) -> Flag | None:
    # By value: comparing two members of a pybind11 enum takes longer than reading them.
    flag = torch_flag(name, getter, setter)
    if flag is None:
        return None
    kind = type(flag.get())
    return Flag(name, lambda: flag.get().value, lambda value: flag.set(kind(value)), lambda value: str(kind(value)))


class Libraries(FlagSource):
    """NNPACK, the multi-head attention fast path, opt_einsum, preferred linear algebra libraries."""

    name = "torch.libraries"

    def __init__(self) -> None:
        mha = torch.backends.mha
        super().__init__(
            (
                torch_flag("nnpack", "_get_nnpack_enabled", "_set_nnpack_enabled"),
                Flag("mha_fastpath", mha.get_fastpath_enabled, mha.set_fastpath_enabled),
                _opt_einsum_flag("enabled"),
                _opt_einsum_flag("strategy"),
                torch_flag("quantized_engine", "_get_qengine", "_set_qengine"),
                _enum_flag("blas", "_get_blas_preferred_backend", "_set_blas_preferred_backend"),
                _enum_flag("linalg", "_get_linalg_preferred_backend", "_set_linalg_preferred_backend"),
                _enum_flag("rocm_flash", "_get_rocm_fa_preferred_backend", "_set_rocm_fa_preferred_backend"),
            )
        )

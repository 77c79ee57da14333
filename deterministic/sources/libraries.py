"""Which of several libraries runs an operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.backends.mha
import torch.backends.opt_einsum

from .base import Flag, FlagSource, torch_flag


def _opt_einsum_flag(name: str) -> Flag:
    # The module's own variables: the public setter refuses a strategy while opt_einsum is disabled, or not installed.
    variables: dict[str, Any] = torch.backends.opt_einsum._get_enabled.__globals__
    return Flag(f"opt_einsum_{name}", lambda: variables[name], lambda value: variables.__setitem__(name, value))


def _of_this_build() -> Iterator[Flag | None]:
    """Yield the flags that can hold more than one value in this build; each takes 1 us to read and compare."""
    if torch.version.cuda or torch.version.hip:
        yield torch_flag("linalg", "_get_linalg_preferred_backend", "_set_linalg_preferred_backend")
    if torch.version.hip:
        yield torch_flag("rocm_flash", "_get_rocm_fa_preferred_backend", "_set_rocm_fa_preferred_backend")


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
                torch_flag("blas", "_get_blas_preferred_backend", "_set_blas_preferred_backend"),
                *_of_this_build(),
            )
        )

"""Reductions of matrix products in lower precision than their inputs ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .base import Flag, FlagSource, torch_flag


def _splatting(set_: Callable[..., Any]) -> Callable[[Any], Any]:
    """Newer torch returns (allow, allow_split_k) and takes two arguments; older torch has one bool for both."""
    return lambda value: set_(*value) if isinstance(value, tuple) else set_(value)


def _pair_flag(name: str, getter: str, setter: str) -> Flag | None:
    flag = torch_flag(name, getter, setter)
    return flag and flag._replace(set=_splatting(flag.set))


class ReducedPrecision(FlagSource):
    """`torch.backends.cuda.matmul.allow_*_reduced_precision_reduction`, `allow_fp16_accumulation`, and the CPU's."""

    name = "torch.reduced_precision"

    def __init__(self) -> None:
        super().__init__(
            (
                _pair_flag(
                    "cuda_fp16_reduction",
                    "_get_cublas_allow_fp16_reduced_precision_reduction",
                    "_set_cublas_allow_fp16_reduced_precision_reduction",
                ),
                _pair_flag(
                    "cuda_bf16_reduction",
                    "_get_cublas_allow_bf16_reduced_precision_reduction",
                    "_set_cublas_allow_bf16_reduced_precision_reduction",
                ),
                torch_flag(
                    "cuda_fp16_accumulation",
                    "_get_cublas_allow_fp16_accumulation",
                    "_set_cublas_allow_fp16_accumulation",
                ),
                torch_flag(
                    "cpu_fp16_reduction",
                    "_get_cpu_allow_fp16_reduced_precision_reduction",
                    "_set_cpu_allow_fp16_reduced_precision_reduction",
                ),
            )
        )

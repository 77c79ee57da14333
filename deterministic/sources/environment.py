"""Environment variables that affect numerics or seeds: a fixed list, so that no token or run id is ever kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TypeAlias

import torch

from ..ground.config import Config
from ..ground.launch import HASH_SEED, launched
from ..ground.source import NOTHING, Applied, JSON, Limit, SourceKind

# fmt: off
VARIABLES: tuple[str, ...] = (
    # Seeds that Python and frameworks read.
    "PYTHONHASHSEED", "PL_GLOBAL_SEED", "PL_SEED_WORKERS",
    # CPU: instruction sets, threads, math libraries.
    "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "MKL_CBWR",
    "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS", "MKL_NUM_THREADS", "NPY_DISABLE_CPU_FEATURES", "OMP_DYNAMIC",
    "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_SCHEDULE", "OPENBLAS_NUM_THREADS", "TORCH_LINEAR_FLATTEN_3D",
    "TORCH_MKLDNN_MATMUL_MIN_DIM", "TORCH_MKLDNN_MATMUL_MIN_SIZE",
    # CUDA and other accelerators: workspaces, precision, choice of algorithm.
    "ASCEND_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "CUBLASLT_WORKSPACE_SIZE", "CUDA_LAUNCH_BLOCKING",
    "CUDNN_ERRATA_JSON_FILE", "DISABLE_ADDMM_CUDA_LT", "NVIDIA_TF32_OVERRIDE", "PYTORCH_TUNABLEOP_ENABLED",
    "PYTORCH_TUNABLEOP_FILENAME", "PYTORCH_TUNABLEOP_TUNING", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT", "TORCH_CUBLASLT_UNIFIED_WORKSPACE", "TORCH_CUDNN_SDPA_AVOID_RECOMPILE",
    "TORCH_CUDNN_SDPA_DEPRIORITIZED", "TORCH_CUDNN_SDPA_NESTED_TENSOR_ENABLED", "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
    "TORCH_CUDNN_V8_API_DISABLED", "TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT", "TORCH_LINALG_PREFER_CUSOLVER",
    "TORCH_ROCM_FA_PREFER_CK",
    # Collectives: the algorithm decides the order of a reduction.
    "HCCL_DETERMINISTIC", "NCCL_ALGO", "NCCL_COLLNET_ENABLE", "NCCL_MAX_NCHANNELS", "NCCL_MIN_NCHANNELS",
    "NCCL_NTHREADS", "NCCL_NVLS_ENABLE", "NCCL_PROTO",
    # Kernels of other packages.
    "FLASH_ATTENTION_DETERMINISTIC", "MAMBA_DETERMINISTIC", "NVTE_ALLOW_NONDETERMINISTIC_ALGO",
    # Compilation.
    "TORCHDYNAMO_DISABLE", "TORCHINDUCTOR_BATCH_INVARIANT", "TORCHINDUCTOR_COORDINATE_DESCENT_TUNING",
    "TORCHINDUCTOR_DETERMINISTIC", "TORCHINDUCTOR_EMULATE_PRECISION_CASTS", "TORCHINDUCTOR_MAX_AUTOTUNE",
    "TORCHINDUCTOR_MAX_AUTOTUNE_GEMM", "TORCHINDUCTOR_MAX_AUTOTUNE_POINTWISE", "TORCHINDUCTOR_USE_FAST_MATH",
    "TORCH_COMPILE_DISABLE", "TRITON_INTERPRET",
    # Other frameworks in the same process.
    "JAX_DEFAULT_MATMUL_PRECISION", "JAX_ENABLE_X64", "TF_CUDNN_DETERMINISTIC", "TF_DETERMINISTIC_OPS", "XLA_FLAGS",
)
# fmt: on

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_WORKSPACE_VALUES = (":4096:8", ":16:8")

SetVariables: TypeAlias = "dict[Any, Any]"
"""The variables of the list that are set; in bytes where the platform has them so."""


class Environment:
    """Variables that affect numerics or seeds, by a fixed list; sets CUBLAS_WORKSPACE_CONFIG for an older torch."""

    name = "environment"
    kind: SourceKind = "setting"

    def __init__(self) -> None:
        self._needs_workspace = _refuses_without_workspace()

    def capture(self) -> SetVariables:
        return {key: _LOOKUP[key] for key in _KEYS.intersection(_LOOKUP)}

    def apply(self, config: Config) -> Applied:
        limits = _HASH_LIMITS if config.seed is not None else ()
        if not (self._needs_workspace and config.applies_algorithms):
            return Applied({}, limits) if limits else NOTHING
        value = os.environ.get(_WORKSPACE)
        if value in _WORKSPACE_VALUES:
            return Applied({}, limits)
        if value is not None:
            return Applied({}, (*limits, _unusable(value)))
        if torch.cuda.is_initialized():
            limits = (*limits, _TOO_LATE)
        os.environ[_WORKSPACE] = _WORKSPACE_VALUES[0]
        return Applied({_WORKSPACE: _WORKSPACE_VALUES[0]}, limits)

    def restore(self, state: SetVariables) -> None:
        now = self.capture()
        if now == state:
            return
        for key in now.keys() - state.keys():
            del _ENVIRON[key]
        for key, value in state.items():
            if now.get(key) != value:
                _ENVIRON[key] = value

    def describe(self, state: SetVariables) -> dict[str, JSON]:
        return {os.fsdecode(key): os.fsdecode(value) for key, value in sorted(state.items())}


_ENVIRON: MutableMapping[Any, Any] = os.environb if os.supports_bytes_environ else os.environ
_KEYS: frozenset[Any] = frozenset(map(os.fsencode, VARIABLES) if os.supports_bytes_environ else VARIABLES)

# Iterating over the mapping encodes and decodes every key: the dictionary under it is 20 times faster. CPython keeps it
# in _data, on Windows with folded keys.
_UNDER: Any = getattr(_ENVIRON, "_data", None)
_LOOKUP: Mapping[Any, Any] = _UNDER if os.supports_bytes_environ and isinstance(_UNDER, dict) else _ENVIRON


def _refuses_without_workspace() -> bool:
    """Up to 2.9 torch checks the variable (Context::checkCuBLASConfig); pytorch/pytorch#161749 removed the check."""
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    return (major, minor) < (2, 10)


def _unusable(value: str) -> Limit:
    return Limit(
        _WORKSPACE,
        f"It is {value!r}, with which this torch refuses cuBLAS in deterministic mode; left as the user set it.",
        f"Set it to {' or '.join(_WORKSPACE_VALUES)}, or unset it.",
    )


_TOO_LATE = Limit(
    _WORKSPACE,
    "CUDA was in use before it was set, and this torch reads it once, at the first cuBLAS call.",
    f"Start Python with {_WORKSPACE}={_WORKSPACE_VALUES[0]}, or enter the scope before the first CUDA operation.",
)


def _is_hash_seed_fixed() -> bool:
    """Return whether the order of sets of strings is the same in every process that is started like this one.

    The variable itself does not tell: a script may have set it when it was too late.
    """
    if not sys.flags.hash_randomization:
        return True  # PYTHONHASHSEED=0
    if sys.flags.ignore_environment:
        return False
    launch = launched()
    if launch is not None and HASH_SEED in launch.variables:
        return os.environ.get(HASH_SEED) == launch.variables[HASH_SEED]
    try:
        with open("/proc/self/environ", "rb") as file:  # as it was at the start; on Linux alone
            variables = dict(variable.partition(b"=")[::2] for variable in file.read().split(b"\0"))
    except OSError:
        return False
    return variables.get(HASH_SEED.encode(), b"").isdigit()


_HASH_LIMITS: tuple[Limit, ...] = ()
if not _is_hash_seed_fixed():
    _HASH_LIMITS = (
        Limit(
            HASH_SEED,
            "The order of sets of strings differs from process to process; it is fixed when the interpreter starts.",
            "Start the script with `deterministic run`, or do not let results depend on the order of a set.",
        ),
    )

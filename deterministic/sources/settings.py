"""The settings that are rows of flags: which kernel runs, how it rounds, on how many threads, what a new tensor is.

Most flags are reached by the functions of `torch._C` and not by the public properties, because the latter raise after
`torch.backends.disable_global_flags()`, which importing `torch.testing._internal.common_utils` calls.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.backends.mha
import torch.backends.opt_einsum

from ..ground.config import Config
from ..ground.source import NOTHING, Applied, JSON, Limit, SourceKind


def to_json(value: Any) -> JSON:
    """Render a flag's value as JSON: enums, dtypes and devices become strings, tuples become lists."""
    if value is None or (isinstance(value, (bool, int, float, str)) and type(value) in (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    return str(value)


class Flag(NamedTuple):
    """One value with its getter and its setter, and how it is shown."""

    name: str
    get: Callable[[], Any]
    set: Callable[[Any], Any]
    show: Callable[[Any], JSON] = to_json


Flags: TypeAlias = "Iterable[Flag | None]"  # a row of flags; None stands for one that this torch lacks


def torch_flag(name: str, getter: str, setter: str) -> Flag | None:
    """Return the flag behind two functions of `torch._C`, or None where this torch lacks them."""
    get, set_ = getattr(torch._C, getter, None), getattr(torch._C, setter, None)
    return None if get is None or set_ is None else Flag(name, get, set_)


# There is no quicker way to call a row of functions; Python 3.10 lacks it.
_call: Callable[[Callable[[], Any]], Any] = getattr(operator, "call", lambda function: function())


class FlagSource:
    """A setting that is a row of independent flags. Subclasses name them, and those that a level sets."""

    name: str
    kind: SourceKind = "setting"
    targets: tuple[tuple[str, JSON], ...] = ()
    """What `set_targets` sets: names of flags, and values."""

    def __init__(self, flags: Flags | None = None) -> None:
        self._flags = tuple(flag for flag in (self.flags() if flags is None else flags) if flag is not None)
        self._getters = tuple(flag.get for flag in self._flags)
        setters = {flag.name: flag.set for flag in self._flags}
        self._targets = [(setters[name], value) for name, value in self.targets if name in setters]
        self._applied = Applied({name: value for name, value in self.targets if name in setters})

    def flags(self) -> Flags:
        """Return the row."""
        raise NotImplementedError

    def capture(self) -> list[Any]:
        return list(map(_call, self._getters))

    def apply(self, config: Config) -> Applied:
        return NOTHING

    def set_targets(self) -> Applied:
        """Set `targets`, but for those that this torch lacks."""
        for set_, value in self._targets:
            set_(value)
        return self._applied

    def restore(self, state: list[Any]) -> None:
        now = self.capture()
        if now == state:
            return
        failed: Exception | None = None
        for flag, before, after in zip(self._flags, state, now, strict=True):
            if before != after:
                try:
                    flag.set(before)
                except Exception as error:  # noqa: BLE001 - raised once the other flags are back
                    failed = failed or error
        if failed is not None:
            raise failed

    def describe(self, state: list[Any]) -> dict[str, JSON]:
        return {flag.name: flag.show(value) for flag, value in zip(self._flags, state, strict=True)}


class Algorithms(FlagSource):
    """`torch.use_deterministic_algorithms`, its `warn_only`, `torch.utils.deterministic.fill_uninitialized_memory`."""

    name = "torch.deterministic_algorithms"

    def flags(self) -> Flags:
        is_on, warns = torch._C._get_deterministic_algorithms, torch._C._get_deterministic_algorithms_warn_only
        set_: Any = torch._C._set_deterministic_algorithms
        yield Flag("enabled", is_on, lambda value: set_(value, warn_only=warns()))
        yield Flag("warn_only", warns, lambda value: set_(is_on(), warn_only=value))
        fills = torch._C._get_deterministic_fill_uninitialized_memory
        yield Flag("fill_uninitialized_memory", fills, torch._C._set_deterministic_fill_uninitialized_memory)

    def apply(self, config: Config) -> Applied:
        # The public setter imports torch._inductor.config on its first call: seconds, for a flag that inductor alone
        # reads (sources/inductor.py sets it where inductor is there).
        if config.allow_nondeterministic:
            torch._C._set_deterministic_algorithms(False, warn_only=torch._C._get_deterministic_algorithms_warn_only())
            return _OFF
        if not config.applies_algorithms:
            return NOTHING
        torch._C._set_deterministic_algorithms(True, warn_only=config.warn_only)
        return _WARN if config.warn_only else _ON


_ON = Applied({"enabled": True, "warn_only": False})
_WARN = Applied({"enabled": True, "warn_only": True})
_OFF = Applied({"enabled": False})


class Cudnn(FlagSource):
    """`torch.backends.cudnn`: enabled, deterministic, benchmark, benchmark_limit, depthwise kernel; MIOpen's mode."""

    name = "torch.cudnn"
    targets = (("deterministic", True), ("benchmark", False))

    def flags(self) -> Flags:
        yield torch_flag("enabled", "_get_cudnn_enabled", "_set_cudnn_enabled")
        yield torch_flag("deterministic", "_get_cudnn_deterministic", "_set_cudnn_deterministic")
        yield torch_flag("benchmark", "_get_cudnn_benchmark", "_set_cudnn_benchmark")
        yield torch_flag("benchmark_limit", "_cuda_get_cudnn_benchmark_limit", "_cuda_set_cudnn_benchmark_limit")
        yield torch_flag("depthwise_kernel", "_get_cudnn_depthwise_kernel", "_set_cudnn_depthwise_kernel")
        yield torch_flag("miopen_immediate", "_get_miopen_immediate", "_set_miopen_immediate")

    def apply(self, config: Config) -> Applied:
        return self.set_targets() if config.applies_cudnn else NOTHING


class Mkldnn(FlagSource):
    """`torch.backends.mkldnn`: enabled, deterministic."""

    name = "torch.mkldnn"
    targets = (("deterministic", True),)

    def flags(self) -> Flags:
        yield torch_flag("enabled", "_get_mkldnn_enabled", "_set_mkldnn_enabled")
        yield torch_flag("deterministic", "_get_mkldnn_deterministic", "_set_mkldnn_deterministic")

    def apply(self, config: Config) -> Applied:
        return self.set_targets() if config.applies_algorithms else NOTHING


class ReducedPrecision(FlagSource):
    """`torch.backends.cuda.matmul.allow_*_reduced_precision_reduction`, `allow_fp16_accumulation`, and the CPU's."""

    name = "torch.reduced_precision"

    def flags(self) -> Flags:
        for dtype in ("fp16", "bf16"):
            reduction = f"cublas_allow_{dtype}_reduced_precision_reduction"
            flag = torch_flag(f"cuda_{dtype}_reduction", f"_get_{reduction}", f"_set_{reduction}")
            yield flag and flag._replace(set=partial(_set_one_or_two, flag.set))
        accumulation = "cublas_allow_fp16_accumulation"
        yield torch_flag("cuda_fp16_accumulation", f"_get_{accumulation}", f"_set_{accumulation}")
        reduction = "cpu_allow_fp16_reduced_precision_reduction"
        yield torch_flag("cpu_fp16_reduction", f"_get_{reduction}", f"_set_{reduction}")


def _set_one_or_two(set_: Callable[..., Any], value: Any) -> None:
    """Newer torch returns (allow, allow_split_k) and takes two arguments; older torch has one bool for both."""
    set_(*value) if isinstance(value, tuple) else set_(value)


class Attention(FlagSource):
    """`torch.backends.cuda.*_sdp`: the kernels that are allowed, their priority, and reductions in half precision."""

    name = "torch.attention"

    def flags(self) -> Flags:
        for kernel in ("flash", "mem_efficient", "math", "cudnn", "fa3", "overrideable"):
            yield torch_flag(kernel, f"_get_{kernel}_sdp_enabled", f"_set_sdp_use_{kernel}")
        yield torch_flag("priority_order", "_get_sdp_priority_order", "_set_sdp_priority_order")
        reduction = "math_sdp_allow_fp16_bf16_reduction"
        yield torch_flag("math_half_precision_reduction", f"_get_{reduction}", f"_set_{reduction}")


class Libraries(FlagSource):
    """NNPACK, the multi-head attention fast path, opt_einsum, preferred linear algebra libraries."""

    name = "torch.libraries"

    def flags(self) -> Flags:
        mha = torch.backends.mha
        yield torch_flag("nnpack", "_get_nnpack_enabled", "_set_nnpack_enabled")
        yield Flag("mha_fastpath", mha.get_fastpath_enabled, mha.set_fastpath_enabled)
        yield _opt_einsum_flag("enabled")
        yield _opt_einsum_flag("strategy")
        yield torch_flag("quantized_engine", "_get_qengine", "_set_qengine")
        yield _enum_flag("blas", "_get_blas_preferred_backend", "_set_blas_preferred_backend")
        yield _enum_flag("linalg", "_get_linalg_preferred_backend", "_set_linalg_preferred_backend")
        yield _enum_flag("rocm_flash", "_get_rocm_fa_preferred_backend", "_set_rocm_fa_preferred_backend")


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


class Threads(FlagSource):
    """`torch.set_num_threads`. The number of inter-op threads can be set once per process and is left alone."""

    name = "torch.threads"

    def flags(self) -> Flags:
        yield Flag("num_threads", torch.get_num_threads, torch.set_num_threads)

    def apply(self, config: Config) -> Applied:
        if config.num_threads is None:
            return NOTHING if config.seed is None else _UNPINNED
        torch.set_num_threads(config.num_threads)
        return Applied({"num_threads": config.num_threads})


_UNPINNED = Applied(
    limits=(
        Limit(
            "CPU threads",
            "CPU results depend on the number of threads, and it is as this process found it.",
            "Pass num_threads= to have the same number on every machine.",
        ),
    )
)


class DefaultDtype(FlagSource):
    """`torch.set_default_dtype`."""

    name = "torch.default_dtype"

    def flags(self) -> Flags:
        yield Flag("dtype", torch.get_default_dtype, torch.set_default_dtype)


class DefaultDevice(FlagSource):
    """`torch.set_default_device`. Per thread."""

    name = "torch.default_device"
    per_thread = True

    def flags(self) -> Flags:
        yield Flag("device", _get_device, _set_device)


_DEVICE_OF_THREAD = torch._GLOBAL_DEVICE_CONTEXT


def _get_device() -> str | None:
    # torch.get_default_device() cannot tell "none set" from "cpu set", and takes 5 us; a getattr that finds nothing, 1.
    mode = _DEVICE_OF_THREAD.__dict__.get("device_context")
    return None if mode is None else str(mode.device)


def _set_device(device: str | None) -> None:
    set_device: Any = torch.set_default_device
    set_device(device)
    if device is None:
        # "None set" is where the attribute is missing; torch 2.6 leaves a None, on which its get_default_device raises.
        _DEVICE_OF_THREAD.__dict__.pop("device_context", None)


class Autocast(FlagSource):
    """`torch.set_autocast_*`, by device type: enabled, dtype; and the cache of cast weights. Per thread."""

    # As far as it outlives a `with` block: switched on by hand, or left on by an unfinished generator.
    name = "torch.autocast"
    per_thread = True

    def flags(self) -> Flags:
        yield Flag("cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled)
        for kind in _device_types():
            yield Flag(kind, partial(torch.is_autocast_enabled, kind), partial(torch.set_autocast_enabled, kind))
            dtype = partial(torch.get_autocast_dtype, kind), partial(torch.set_autocast_dtype, kind)
            yield Flag(f"{kind}_dtype", *dtype)


def _device_types() -> Iterator[str]:
    """Yield the device types that this build of torch can have."""
    yield from ("cpu", "cuda")
    if torch.backends.mps.is_built():
        yield "mps"
    if torch.xpu._is_compiled():
        yield "xpu"


class FlushDenormal(FlagSource):
    """`torch.set_flush_denormal`. Per operating system thread; OpenMP workers that exist already do not follow."""

    name = "torch.flush_denormal"
    per_thread = True

    def flags(self) -> Flags:
        yield Flag("flush_denormal", _flushes_denormal, torch.set_flush_denormal)


_SMALLEST_NORMAL = sys.float_info.min


def _flushes_denormal() -> bool:
    # torch has a setter and no getter. The multiplication is done by the processor at each call (the operand is a
    # global, so the compiler cannot fold it): half of the smallest normal number is subnormal.
    return _SMALLEST_NORMAL * 0.5 == 0.0


class NumpyBuffer(FlagSource):
    """`numpy.setbufsize`, in elements. Per thread and asyncio task (a context variable since numpy 2)."""

    # It decides how a reduction with a cast is cut into blocks, and so its rounding.
    name = "numpy.buffer"
    per_thread = True

    def flags(self) -> Flags:
        yield Flag("bufsize", np.getbufsize, np.setbufsize)

"""What a user changes by torch's and numpy's public functions comes back: a list of its own, not the sources'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from deterministic import describe, reproducible

backends: Any = torch.backends
deterministic_utils: Any = torch.utils.deterministic


class Setting(NamedTuple):
    """One public setting: how it is read and written, and two values of which at most one is in effect."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]
    values: tuple[Any, Any] = (True, False)


def attribute(path: str, *values: Any) -> Setting | None:
    """Return the setting behind an attribute below torch.backends; None where this torch lacks it."""
    *holders, name = path.split(".")
    holder = backends
    for part in holders:
        holder = getattr(holder, part, None)
    if not hasattr(holder, name):
        return None
    return Setting(
        lambda: getattr(holder, name), lambda value: setattr(holder, name, value), tuple(values) or (True, False)
    )


def private(getter: str, setter: str, *values: Any) -> Setting | None:
    """Return the setting behind two functions of torch._C that the public name only wraps, where they are there."""
    if not hasattr(torch._C, setter):
        return None
    return Setting(getattr(torch._C, getter), getattr(torch._C, setter), tuple(values) or (True, False))


FOUND: dict[str, Setting | None] = {
    "use_deterministic_algorithms": Setting(
        torch.are_deterministic_algorithms_enabled, lambda on: torch._C._set_deterministic_algorithms(on)
    ),
    "warn_only": Setting(
        torch.is_deterministic_algorithms_warn_only_enabled,
        lambda on: torch._C._set_deterministic_algorithms(True, warn_only=on),
    ),
    "fill_uninitialized_memory": Setting(
        lambda: deterministic_utils.fill_uninitialized_memory,
        lambda on: setattr(deterministic_utils, "fill_uninitialized_memory", on),
    ),
    "cudnn.enabled": attribute("cudnn.enabled"),
    "cudnn.benchmark": attribute("cudnn.benchmark"),
    "cudnn.deterministic": attribute("cudnn.deterministic"),
    "cudnn.allow_tf32": attribute("cudnn.allow_tf32"),
    "miopen.immediate": attribute("miopen.immediate"),
    "matmul.allow_tf32": attribute("cuda.matmul.allow_tf32"),
    "fp16_reduction": attribute("cuda.matmul.allow_fp16_reduced_precision_reduction"),
    "bf16_reduction": attribute("cuda.matmul.allow_bf16_reduced_precision_reduction"),
    "fp16_accumulation": attribute("cuda.matmul.allow_fp16_accumulation"),
    "float32_matmul_precision": Setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, ("high", "medium")
    ),
    "flash_sdp": Setting(backends.cuda.flash_sdp_enabled, backends.cuda.enable_flash_sdp),
    "mem_efficient_sdp": Setting(backends.cuda.mem_efficient_sdp_enabled, backends.cuda.enable_mem_efficient_sdp),
    "math_sdp": Setting(backends.cuda.math_sdp_enabled, backends.cuda.enable_math_sdp),
    "cudnn_sdp": Setting(backends.cuda.cudnn_sdp_enabled, backends.cuda.enable_cudnn_sdp),
    "reduced_math_sdp": Setting(
        backends.cuda.fp16_bf16_reduction_math_sdp_allowed, backends.cuda.allow_fp16_bf16_reduction_math_sdp
    ),
    "sdp_priority": private("_get_sdp_priority_order", "_set_sdp_priority_order", [2, 1, 0, 3, 4], [0, 1, 2, 3, 4]),
    "mkldnn.enabled": private("_get_mkldnn_enabled", "_set_mkldnn_enabled"),
    "mkldnn.deterministic": private("_get_mkldnn_deterministic", "_set_mkldnn_deterministic"),
    "nnpack": Setting(torch._C._get_nnpack_enabled, backends.nnpack.set_flags),
    "mha.fastpath": Setting(backends.mha.get_fastpath_enabled, backends.mha.set_fastpath_enabled),
    "quantized.engine": attribute("quantized.engine", *backends.quantized.supported_engines[:2]),
    "num_threads": Setting(torch.get_num_threads, torch.set_num_threads, (1, 2)),
    "default_dtype": Setting(torch.get_default_dtype, torch.set_default_dtype, (torch.float64, torch.float32)),
    "default_device": Setting(lambda: torch.empty(0).device.type, torch.set_default_device, ("meta", "cpu")),
    "autocast": Setting(lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)),
    "autocast_dtype": Setting(
        lambda: torch.get_autocast_dtype("cpu"),
        lambda dtype: torch.set_autocast_dtype("cpu", dtype),
        (torch.float16, torch.bfloat16),
    ),
    "autocast_cache": Setting(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "flush_denormal": Setting(lambda: float(np.float64(2.0**-1060) * np.float64(1.0)) == 0, torch.set_flush_denormal),
    "bufsize": Setting(np.getbufsize, np.setbufsize, (4096, 8192)),
}
SETTINGS = {name: setting for name, setting in FOUND.items() if setting is not None}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_setting_changed_inside_is_as_it_was_afterwards(setting: Setting) -> None:
    with reproducible(seed=None, deterministic=False):
        for value in setting.values:
            setting.write(value)
            before, outside = setting.read(), describe()
            assert before == value
            for inside in setting.values:
                with reproducible(0):
                    setting.write(inside)
                    assert setting.read() == inside
                assert setting.read() == before
                assert describe() == outside


@pytest.mark.parametrize(("name", "value"), [("enabled", True), ("strategy", "greedy")])
@pytest.mark.parametrize("outside", [False, True], ids=["untouched before", "assigned before"])
def test_what_is_assigned_to_opt_einsum_is_as_it_was_afterwards(
    name: str, value: Any, outside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch.einsum reads the attribute of the module object that replaces the module; assigning creates it there.
    module: Any = backends.opt_einsum
    monkeypatch.delitem(vars(module), name, raising=False)
    if outside:
        monkeypatch.setitem(vars(module), name, getattr(module, name))
    before = getattr(module, name)
    with reproducible(0):
        setattr(module, name, value)
        assert getattr(module, name) == value
    after = getattr(module, name)
    vars(module).pop(name, None)
    assert after == before


def test_opt_einsum_set_by_its_function_is_as_it_was_afterwards() -> None:
    module: Any = backends.opt_einsum
    before = module._get_enabled()
    with reproducible(0):
        module._get_enabled.__globals__["enabled"] = not before  # what `set_flags` does where the package is installed
    assert module._get_enabled() == before

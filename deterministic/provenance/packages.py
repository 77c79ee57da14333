"""Which packages a process uses, by the names under which they are installed."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

from ..ground.installed import distributions, entry_of, unreadable, version_of
from .reasons import or_null, told

KERNELS = (
    *("triton", "pytorch-triton", "pytorch-triton-rocm", "nvidia-cutlass", "nvidia-cutlass-dsl", "opt_einsum"),
    *("flash-attn", "xformers", "apex", "transformer-engine", "liger-kernel", "bitsandbytes", "mamba-ssm"),
    *("causal-conv1d", "flash-linear-attention", "intel-extension-for-pytorch", "torchao", "fbgemm-gpu", "mkl"),
    *("nvidia-cublas-cu12", "nvidia-cudnn-cu12", "nvidia-nccl-cu12", "nvidia-cublas", "nvidia-cudnn-cu13"),
    *("nvidia-nccl-cu13",),
)
"""What replaces kernels of PyTorch, holds those that it calls, or is used as soon as it is installed."""


@or_null("kernels")
def kernels() -> dict[str, Any]:
    """Return the versions of those that are installed."""
    found: dict[str, Any] = {}
    for name in KERNELS:
        version, why = version_of(name)
        if version or why:
            found |= told({f"kernels.{name}": version}, why)
    return found


@or_null("packages")
def imported() -> dict[str, Any]:
    """Return the versions of the distributions of which a module has been imported.

    `metadata.packages_distributions` reads five times as much.
    """
    tops = {str(name).partition(".")[0] for name in [*sys.modules]} - sys.stdlib_module_names
    found: dict[str, Any] = {}
    for distribution in distributions():
        try:
            if not _modules(distribution) & tops:
                continue
            name, version = entry_of(distribution, "Name"), entry_of(distribution, "Version")
        except Exception as error:  # noqa: BLE001 - what is in others' metadata can raise anything
            name, version = None, unreadable(error)
        if name is None or not isinstance(version, str):
            where = getattr(getattr(distribution, "_path", None), "name", "")  # tells which; without it, nothing does
            if where:
                found |= told({f"packages.{where}": None}, version or "its metadata has no name, or no version")
            continue
        found.setdefault(f"packages.{name.lower().replace('_', '-')}", version)  # the first is the one imported from
    ours = {f"packages.{name.replace('_', '-')}" for name in KERNELS}  # which are told of as kernels
    return {name: version for name, version in sorted(found.items()) if name not in ours}


def _modules(distribution: metadata.Distribution) -> set[str]:
    """Return what can be imported of a distribution, at the top."""
    named = distribution.read_text("top_level.txt")
    if named:
        return {*named.split()}
    files = distribution.read_text("RECORD") or ""
    return {line.partition("/")[0].partition(".")[0] for line in files.splitlines()}

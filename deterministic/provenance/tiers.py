"""How likely it is that a difference of two manifests alters bits, why, and what to do: a table, from the top.

The tiers follow what was measured, where it was: threads, instruction sets and code paths of the math libraries.
"""

from __future__ import annotations

from typing import NamedTuple


class Tier(NamedTuple):
    """What some fields have to do with bits."""

    number: int  # 1, the likeliest to alter them, to 8; up to `LAST_THAT_ALTERS` they can
    names: str  # the fields, or what several begin with, up to a dot; "*" for any
    why: str  # how a difference alters bits, or why not
    remedy: str = "Nothing."  # what to do about it


LAST_THAT_ALTERS = 6

_ALIKE = "Set it alike."
_VERSION = "Install the same version."
_MACHINE = "Run on the same kind of machine, or see `deterministic run --portable`."
_SUMS = "with other shares of the work, sums are added up in another order"
_E = "settings.environment."

TABLE: tuple[Tier, ...] = (
    Tier(1, "seed launch.seed", "other random numbers are drawn", "Give the same seed."),
    Tier(1, "git.commit", "another commit is another program", "Check that commit out."),
    Tier(1, "git.dirty git.diff_sha256", "other changes lie over the commit", "Commit them, or undo them."),
    Tier(1, "script.sha256 program", "another program ran", "Run the same file."),
    Tier(1, "argv", "other arguments ask for something else", "Give the same arguments."),
    Tier(1, "data", "other data gives other results", "Use the same data."),
    Tier(1, "trace", "other bits were computed", "`deterministic diff` of the traces says where."),
    Tier(1, "generators", "other random numbers were drawn, or will be", "`record` both, and find what draws."),
    Tier(2, "deterministic launch.deterministic", "other algorithms are allowed", "Use the same level."),
    Tier(2, "settings.torch.fp32_precision", "products are rounded in another precision", _ALIKE),
    Tier(2, "settings.torch.reduced_precision settings.torch.autocast", "numbers are rounded more, or less", _ALIKE),
    Tier(2, "settings.torch.default_dtype", "tensors have another precision", _ALIKE),
    Tier(2, "settings", "a flag chooses among algorithms that round in other ways", _ALIKE),
    Tier(2, "settings.environment launch.variables", "a library chooses by it how to compute", _ALIKE),
    Tier(3, "versions.torch torch", "another build has other kernels", "Install the same build of PyTorch."),
    Tier(3, "versions.cuda versions.cudnn", "another version has other kernels", _VERSION),
    Tier(3, "gpu versions.device", "kernels are chosen for the device, and sum up in its order", "Use the same kind."),
    Tier(3, "kernels", "the package has kernels that are used in place of others", _VERSION),
    Tier(4, f"{_E}ATEN_CPU_CAPABILITY", "it chooses the instructions of PyTorch's kernels", _ALIKE),
    Tier(4, f"{_E}DNNL_MAX_CPU_ISA {_E}ONEDNN_MAX_CPU_ISA", "it chooses the instructions of oneDNN", _ALIKE),
    Tier(4, f"{_E}MKL_CBWR {_E}MKL_ENABLE_INSTRUCTIONS", "it chooses MKL's code path", _ALIKE),
    Tier(4, f"{_E}NPY_DISABLE_CPU_FEATURES", "it chooses the instructions of NumPy", _ALIKE),
    Tier(4, "cpu", "libraries choose by it; the vendor's name alone altered 23 of 81 operations", _MACHINE),
    Tier(4, "versions.platform", "another kind of machine has other kernels", _MACHINE),
    Tier(4, "numpy.blas", "another math library sums up in another order", "Install the same build of NumPy."),
    Tier(5, "settings.torch.threads launch.num_threads threads", _SUMS, "Use the same number of threads."),
    Tier(5, f"{_E}OMP_NUM_THREADS {_E}MKL_NUM_THREADS {_E}OPENBLAS_NUM_THREADS", _SUMS, _ALIKE),
    Tier(5, f"{_E}OMP_DYNAMIC {_E}MKL_DYNAMIC {_E}OMP_SCHEDULE {_E}OMP_PROC_BIND", _SUMS, _ALIKE),
    Tier(5, "world_size rank", "gradients are added up in another order", "Use as many ranks, or `world_invariant`."),
    Tier(5, "local_world_size", "gradients are added up in another order", "Use as many ranks on each machine."),
    Tier(5, "num_workers", "without make_loader each worker draws for itself", "Use make_loader, or as many."),
    Tier(5, "start_method", "a worker inherits generators, or begins anew", "Use the same start method."),
    Tier(6, f"{_E}PYTHONHASHSEED", "sets of strings come in another order", "Start Python with the same."),
    Tier(6, "python.hash_randomization", "sets of strings come in another order", "Start Python with PYTHONHASHSEED."),
    Tier(6, "versions.numpy", "its streams and kernels change between versions", _VERSION),
    Tier(6, "versions.python python.implementation", "details of its library change", "Use the same Python."),
    Tier(6, "versions.deterministic", "what it derives from a seed may change", _VERSION),
    Tier(7, "gpu.driver", "it compiles what a package ships uncompiled, which seldom matters"),
    Tier(7, "packages", "it may compute or draw something itself", _VERSION),
    Tier(8, "seed.rank seed.python seed.numpy seed.torch", "it follows from the seed and the rank"),
    Tier(8, "requested", "the settings say what came of it"),
    Tier(8, "before", "the scope seeds them, and gives them back"),
    Tier(8, "cpu.count", "threads are told by themselves"),
    Tier(8, "*", "nothing that computes is known to depend on it"),
)

PLACES = {row: place for place, row in enumerate(TABLE)}  # where in the table a row stands

_ROWS = {name: row for row in TABLE for name in row.names.split()}
_MOST_PARTS = max(name.count(".") + 1 for name in _ROWS)


def tier_of(field: str) -> Tier:
    """Return the row of the table that has a field, or else the longest beginning of its name, up to a dot."""
    parts = field.split(".", _MOST_PARTS)[:_MOST_PARTS]
    return next((row for end in range(len(parts), 0, -1) if (row := _ROWS.get(".".join(parts[:end])))), _ROWS["*"])

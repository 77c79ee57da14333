"""How likely it is that a difference of two manifests alters bits, why, and what to do: a table, from the top.

The tiers follow what was measured, where it was: threads, instruction sets and code paths of the math libraries.
"""

from __future__ import annotations

from typing import NamedTuple


class Tier(NamedTuple):
    """What a field has to do with bits.

    Attributes:
        number: 1, the likeliest to alter them, to 8; up to `LAST_THAT_ALTERS` they can.
        names: The field, or what several begin with, up to a dot; "*" for any.
        why: How a difference alters bits, or why not.
        remedy: What to do about it.
    """

    number: int
    names: tuple[str, ...]
    why: str
    remedy: str


LAST_THAT_ALTERS = 6

_E = "settings.environment."
_SAME_MACHINE = "Run on the same kind of machine, or see `deterministic run --portable`."

TABLE: tuple[Tier, ...] = (
    Tier(8, ("seed.rank", "seed.python", "seed.numpy", "seed.torch"), "it follows from the seed", "Nothing."),
    Tier(1, ("seed", "launch.seed"), "other random numbers are drawn", "Give the same seed."),
    Tier(1, ("generators",), "other random numbers have been or will be drawn", "Find what draws, with `record`."),
    Tier(1, ("git.commit",), "another commit is another program", "Check that commit out."),
    Tier(1, ("git.dirty", "git.diff_sha256"), "other changes lie over the commit", "Commit them, or undo them."),
    Tier(1, ("script.sha256", "program"), "another program ran", "Run the same file."),
    Tier(1, ("argv",), "other arguments ask for something else", "Give the same arguments."),
    Tier(1, ("data",), "other data gives other results", "Use the same data."),
    Tier(4, (f"{_E}ATEN_CPU_CAPABILITY",), "it chooses the instructions of PyTorch's kernels", "Set it alike."),
    Tier(
        4,
        tuple(_E + one for one in ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES")),
        "it chooses the code path of a math library",
        "Set it alike.",
    ),
    Tier(
        4,
        tuple(_E + one for one in ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE")),
        "it chooses the instructions of oneDNN",
        "Set it alike.",
    ),
    Tier(
        5,
        tuple(
            f"{_E}{library}_{what}"
            for library in ("OMP", "MKL", "OPENBLAS")
            for what in ("NUM_THREADS", "DYNAMIC", "PROC_BIND", "SCHEDULE")
        ),
        "with other shares of the work, sums are added up in another order",
        "Set it alike.",
    ),
    Tier(6, (f"{_E}PYTHONHASHSEED",), "sets of strings come in another order", "Start Python with the same."),
    Tier(2, ("settings.environment", "launch.variables"), "a library chooses by it how to compute", "Set it alike."),
    Tier(
        5,
        ("settings.torch.threads", "launch.num_threads", "versions.num_threads", "threads"),
        "with other shares of the work, sums are added up in another order",
        "Use the same number of threads.",
    ),
    Tier(2, ("deterministic", "launch.deterministic"), "other algorithms are allowed", "Use the same level."),
    Tier(
        2,
        ("settings.torch.fp32_precision", "settings.torch.reduced_precision", "settings.torch.autocast"),
        "products are rounded in another precision",
        "Set it alike.",
    ),
    Tier(2, ("settings.torch.default_dtype",), "tensors have another precision", "Set it alike."),
    Tier(8, ("requested",), "the settings say what came of it", "Nothing."),
    Tier(2, ("settings",), "a flag chooses among algorithms that round in other ways", "Set it alike."),
    Tier(3, ("versions.torch", "torch"), "another build has other kernels", "Install the same build of PyTorch."),
    Tier(3, ("versions.cuda", "versions.cudnn"), "another version has other kernels", "Install the same version."),
    Tier(
        3,
        ("gpu.names", "gpu.capabilities", "gpu.count", "versions.device"),  # the last in checkpoints alone
        "kernels are chosen for the device, and sum up in its order",
        "Run on the same kind of device.",
    ),
    Tier(3, ("kernels",), "the package has kernels that are used in place of others", "Install the same version."),
    Tier(
        4,
        ("cpu.vendor", "cpu.model", "cpu.family"),
        "math libraries choose their code by the processor; the vendor's name alone altered 23 of 81 operations",
        _SAME_MACHINE,
    ),
    Tier(4, ("cpu.torch", "cpu.numpy", "cpu.onednn", "cpu.mkl"), "kernels use other instructions", _SAME_MACHINE),
    Tier(4, ("cpu.machine", "versions.platform"), "another kind of machine has other kernels", _SAME_MACHINE),
    Tier(4, ("numpy.blas",), "another math library sums up in another order", "Install the same build of NumPy."),
    Tier(
        5,
        ("world_size", "rank"),
        "gradients are added up in another order, and each rank has other samples",
        "Run on as many ranks, or see `world_invariant`.",
    ),
    Tier(5, ("num_workers",), "without make_loader each worker draws for itself", "Use make_loader, or as many."),
    Tier(5, ("start_method",), "a worker inherits generators, or begins anew", "Use the same start method."),
    Tier(6, ("versions.numpy",), "its streams and kernels change between versions", "Install the same version."),
    Tier(
        6,
        ("versions.python", "python.implementation", "python.hash_randomization"),
        "orders of sets and details of its library change",
        "Use the same Python.",
    ),
    Tier(6, ("versions.deterministic",), "what it derives from a seed may change", "Install the same version."),
    Tier(8, ("before",), "the scope seeds them, and gives them back", "Nothing."),
    Tier(7, ("gpu.driver",), "it compiles what a package ships uncompiled", "Seldom matters: look at the rest first."),
    Tier(7, ("packages",), "it may compute or draw something itself", "Install the same version if it does."),
    Tier(8, ("*",), "nothing that computes is known to depend on it", "Nothing."),
)


_ROWS = {name: row for row in reversed(TABLE) for name in row.names}


def tier_of(field: str) -> Tier:
    """Return the row of the table that has a field, or else the longest beginning of its name, up to a dot."""
    parts = field.split(".")
    return next((row for end in range(len(parts), 0, -1) if (row := _ROWS.get(".".join(parts[:end])))), _ROWS["*"])

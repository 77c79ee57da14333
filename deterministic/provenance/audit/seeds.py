"""Generators and seeds: which calls take one, and whether it is given and the same in every run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from .names import Parsed, name_of, words

Found = Iterator[tuple[ast.AST, str, str]]
"""Nodes, each with the rule that it breaks and what is said of it."""

_NUMPY = "default_rng RandomState SeedSequence PCG64 PCG64DXSM MT19937 Philox SFC64"
_SAMPLERS = "TPESampler CmaEsSampler NSGAIISampler NSGAIIISampler QMCSampler GPSampler"
_ENGINES = "Halton LatinHypercube PoissonDisk Sobol"
_NOWHERE = 99
_ENTROPY: dict[str, tuple[str, str, int]] = {
    **{f"numpy.random.{name}": ("DET101", "seed entropy key", 0) for name in _NUMPY.split()},
    "random.Random": ("DET101", "x", 0),
    "random.seed": ("DET102", "a", 0),
    "numpy.random.seed": ("DET102", "seed", 0),
    **{f"torch.{name}": ("DET102", "", _NOWHERE) for name in ("seed", "random.seed", "cuda.seed", "cuda.seed_all")},
    # With v0 alone SciPy 1.17 draws where it has to start again.
    **{f"scipy.sparse.linalg.{name}": ("DET105", "rng", 13) for name in ("eigs", "eigsh")},
    "scipy.sparse.linalg.svds": ("DET105", "rng random_state", 9),
    **{f"scipy.stats.qmc.{name}": ("DET105", "rng seed", _NOWHERE) for name in _ENGINES.split()},
    **{f"optuna.samplers.{name}": ("DET105", "seed", _NOWHERE) for name in _SAMPLERS.split()},
    "optuna.samplers.RandomSampler": ("DET105", "seed", 0),
    "optuna.create_study": ("DET105", "sampler", 1),
    "umap.UMAP": ("DET105", "random_state", _NOWHERE),
    "albumentations.Compose": ("DET105", "seed", 8),
    "datasets.interleave_datasets": ("DET105", "seed", 2),
    "datasets.load_dataset.shuffle": ("DET105", "seed generator", 0),
    "webdataset.shuffle": ("DET105", "rng seed", 2),
    "webdataset.WebDataset.shuffle": ("DET105", "rng seed", _NOWHERE),
}
"""What draws from the system's entropy: the rule, the arguments each of which prevents it, and the place of the first
of them among those without a name."""
_DECIDING = {
    "scipy.stats.qmc.Sobol": ("scramble", _NOWHERE, True),
    "scipy.stats.qmc.Halton": ("scramble", _NOWHERE, True),
    "datasets.interleave_datasets": ("probabilities", 1, None),
    "webdataset.WebDataset.shuffle": ("size", 0, None),
}
"""Of these, an argument without which, or with a false one, nothing is drawn: its place, and what it is if left out."""
_SEEDING = words(
    "random.seed random.Random numpy.random.seed numpy.random.default_rng numpy.random.RandomState "
    "numpy.random.SeedSequence tensorflow.random.set_seed transformers.set_seed accelerate.utils.set_seed "
    "lightning.seed_everything pytorch_lightning.seed_everything deterministic.seed_everything"
)
_VARYING = words(
    "time.time time.time_ns time.perf_counter time.perf_counter_ns time.monotonic time.monotonic_ns os.urandom "
    "os.getpid uuid.uuid1 uuid.uuid4 secrets.randbits secrets.randbelow secrets.token_bytes datetime.datetime.now "
    "datetime.datetime.utcnow"
)
_EXACT = ("determin", "reproduc")
_DEFAULT = ("torch.default_generator", "torch.random.default_generator")
_PUT_BACK = ("seed", "setstate", "set_state")
_OF_TEXTS = re.compile(r"(?:.*_)?(?:name|path|text|word|string|title|url|filename)$", re.IGNORECASE)
"""How names end that mostly stand for a text."""


def check_seeds(source: Parsed) -> Found:
    """Find DET101 to DET105."""
    seeded = _seeded_names(source) | {*_PUT_BACK}
    for call in source.nodes[ast.Call]:
        full = source.called(call) or _shuffle_of_stream(source, call)
        if full in _ENTROPY and not _is_given(call, full) and not is_fallback(source, call):
            rule, keywords, _ = _ENTROPY[full]
            if rule != "DET101" or not seeded & _names_of_made(source, call):
                named = " or ".join(f"{word}=" for word in keywords.split())
                yield call, rule, f"{full}(...) without {named}" if rule == "DET105" else f"{full}() without a seed"
        elif full == "torch.Generator" and _is_never_seeded(source, call):
            yield call, "DET103", "torch.Generator() is never seeded"
        elif _seeds_a_generator_anew(source, call) and not is_fallback(source, call):
            yield call, "DET102", "seed() of a torch.Generator takes no seed"
    for node in (*source.nodes[ast.Call], *source.nodes[ast.Assign], *source.nodes[ast.AnnAssign]):
        yield from (found for seed in seeds_with(source, node) for found in _varying(source, seed))
    yield from _environments(source)


def seeds_with(source: Parsed, node: ast.AST) -> Sequence[ast.AST]:
    """Return what a call is given for a seed, or an assignment makes one."""
    if isinstance(node, ast.Call):
        seeds = [keyword.value for keyword in node.keywords if keyword.arg in ("seed", "random_state")]
        is_seeding = source.called(node) in _SEEDING or name_of(node.func) in ("manual_seed", "manual_seed_all")
        return seeds + node.args[:1] if is_seeding else seeds
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    value: ast.AST | None = getattr(node, "value", None)
    return [value] if value is not None and any(map(_is_seed, targets)) else []


def is_fallback(source: Parsed, node: ast.AST, asked: str = "seed") -> bool:
    """Whether a node is reached only without something else: `... if rng is None`, `rng or ...`, `if not args.seed`.

    So it is where what was asked for decides, by its name: a seed, or a setting.
    """
    for above, child in source.above(node):
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)):
            break
        if isinstance(above, ast.BoolOp) and child is not above.values[0]:
            return True
        if isinstance(above, (ast.If, ast.IfExp)) and child is not above.test:
            is_otherwise = child is above.orelse if isinstance(above, ast.IfExp) else child in above.orelse
            for part in source.walk(above.test):
                word = str(part.value if isinstance(part, ast.Constant) else name_of(part)).lower()
                if _asks_for_none(source, part, is_otherwise) or any(each in word for each in (asked, "seed", *_EXACT)):
                    return True
    return False


def _asks_for_none(source: Parsed, part: ast.AST, is_otherwise: bool) -> bool:
    """Whether a part of a condition is None, and something is None where the condition is so, or is otherwise."""
    if not _is_none(part):
        return False
    compare = source.parents[part]
    is_clear = isinstance(compare, ast.Compare) and isinstance(compare.ops[0], (ast.Is, ast.Eq, ast.IsNot, ast.NotEq))
    return not is_clear or isinstance(compare.ops[0], (ast.IsNot, ast.NotEq)) is is_otherwise  # type: ignore[attr-defined]


def _is_given(call: ast.Call, full: str) -> bool:
    """Whether a call is given one of the arguments of `_ENTROPY`, or may be, or draws nothing."""
    _, keywords, place = _ENTROPY[full]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if None in given or any(isinstance(argument, ast.Starred) for argument in call.args):
        return True
    if full in _DECIDING:
        name, at, otherwise = _DECIDING[full]
        decides = given.get(name) or next(iter(call.args[at : at + 1]), ast.Constant(otherwise))
        if isinstance(decides, ast.Constant) and not decides.value:
            return True
    values = [*call.args[place : place + 1], *(given[word] for word in keywords.split() if word in given)]
    return not all(map(_is_none, values))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _shuffle_of_stream(source: Parsed, call: ast.Call) -> str:
    """Return the full name of a stream's method, also at the end of a chain of calls; empty if it is none."""
    if name_of(call.func) != "shuffle":
        return ""
    made: Any = call
    seen: set[ast.AST] = set()  # `rows = rows.map(f)` leads back to it
    while made not in seen and isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute):
        if source.called(made):
            break
        source.spend(8)  # each of these takes as long as several others
        seen.add(made)
        made = source.value(made.func.value)
    given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in getattr(made, "keywords", ())}
    full = source.called(made)
    return f"{full}.shuffle" if full == "webdataset.WebDataset" or given.get("streaming") is True else ""


def _seeded_names(source: Parsed) -> set[str]:
    """Return the names of what is seeded in the file, given a state, or made with a seed."""
    calls = (call for call in source.nodes[ast.Call] if name_of(call.func) in _PUT_BACK and call.args)
    seeded = {_kept_as(call.func.value) for call in calls if isinstance(call.func, ast.Attribute)}
    for assign in source.nodes[ast.Assign]:
        for target in assign.targets:
            if name_of(target) == "state" and isinstance(target, ast.Attribute):
                seeded.add(_kept_as(target.value))
            if (full := source.called(assign.value)) in _ENTROPY and _is_given(assign.value, full):
                seeded.add(_kept_as(target))
    return seeded - {""}


def _kept_as(node: ast.AST) -> str:
    """Return the last name of what is kept: "rng", or ".rng" of any object, which is another one."""
    return f".{name_of(node)}" if isinstance(node, ast.Attribute) else name_of(node)


def _names_of_made(source: Parsed, call: ast.Call) -> set[str]:
    """Return the names under which a generator is kept, or what is done with it at once: `Random().seed`."""
    above: Any = source.parents[call]
    if isinstance(above, ast.Attribute):
        return {above.attr}
    targets = above.targets if isinstance(above, ast.Assign) else [getattr(above, "target", above)]
    return {_kept_as(target) for target in targets}


def _varying(source: Parsed, seed: ast.AST) -> Found:
    """Find a seed that is made of what varies; of one with a name, that is told where it gets it."""
    value = source.value(seed)
    if isinstance(seed, ast.Name) and value is not seed and _is_seed(seed):
        return
    is_entropy = not is_fallback(source, value)  # where none is given; a hash is to say what it is made of
    for part in source.walk(value):
        full = source.called(part)
        of_text = full == "hash" and isinstance(part, ast.Call) and any(map(_is_text, part.args))
        if of_text or (is_entropy and full in _VARYING):
            yield seed, "DET104", f"a seed from {full}()"
            return


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, (ast.Tuple, ast.BinOp)):
        return any(map(_is_text, ast.iter_child_nodes(node)))
    if isinstance(node, ast.Call):
        return name_of(node.func) in ("str", "repr", "format")
    if _OF_TEXTS.match(name_of(node)):
        return True
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))


def _is_seed(target: ast.AST) -> bool:
    name = name_of(target).lower()
    return name.rpartition("_")[2] == "seed" or name == "random_state"


def _seeds_a_generator_anew(source: Parsed, call: ast.Call) -> bool:
    """Whether it is `generator.seed()` of torch, which takes the system's entropy."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "seed" or call.args or call.keywords:
        return False
    owner = call.func.value
    of_device = isinstance(owner, ast.Subscript) and name_of(owner.value) == "default_generators"
    return of_device or source.full(owner) in _DEFAULT or source.called(source.value(owner)) == "torch.Generator"


def _is_never_seeded(source: Parsed, call: ast.Call) -> bool:
    """Whether a torch.Generator is drawn from as it is made: by whom it is passed to, itself or by its only name."""
    parent = source.parents[call]
    if isinstance(parent, ast.Assign) and isinstance(target := parent.targets[0], ast.Name):
        uses = [source.parents[read] for read in source.reads(target)]
        return bool(uses) and len(source.bindings(target)) == 1 and all(map(_is_generator, uses))
    return _is_generator(parent)


def _is_generator(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg == "generator"


def _environments(source: Parsed) -> Found:
    """Find environments of gymnasium that are reset, and never with a seed."""
    resets: dict[str, list[ast.Call]] = {}
    for call in source.nodes[ast.Call]:
        owner = call.func.value if isinstance(call.func, ast.Attribute) and call.func.attr == "reset" else None
        if isinstance(owner, ast.Name) and source.called(source.value(owner)) == "gymnasium.make":
            resets.setdefault(owner.id, []).append(call)
    for calls in resets.values():
        given = [keyword for call in calls for keyword in call.keywords if keyword.arg in ("seed", None)]
        if all(_is_none(keyword.value) for keyword in given) and not any(call.args for call in calls):
            yield calls[-1], "DET105", "an environment of gymnasium is never reset with seed="

"""Orders that are none: of sets, directories, finished work and hashes, and whether anything takes them for one."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from itertools import islice
from typing import Any

from .names import Parsed, is_of_self, name_of, words
from .seeds import Found, seeds_with

_KEEP = words(
    "list tuple enumerate iter reversed map filter zip tqdm.tqdm tqdm.auto.tqdm itertools.chain itertools.islice "
    "numpy.array numpy.asarray numpy.concatenate numpy.stack numpy.vstack torch.tensor torch.cat torch.stack "
    "random.choice random.sample random.shuffle pandas.DataFrame pandas.concat"
)
"""Calls that are given elements in an order and have it still; all others are taken not to."""
_LISTING = words("os.listdir os.scandir os.walk glob.glob glob.iglob")
_FINISHED = words("concurrent.futures.as_completed asyncio.as_completed")
_SORTING = ("sorted", "natsorted", "sort", "sort_values", "natsort")
_ORDERLESS = ("dict", "set", "frozenset", "len", "sum", "min", "max", "any", "all", "next", *_KEEP)
_ADDING = ("append", "extend", "insert", "appendleft")
_OF_SETS = ("union", "intersection", "difference", "symmetric_difference", "copy")
_WHAT = {"DET201": "a set", "DET202": "a directory", "DET203": "finished work"}
_OF_PATHS = re.compile("path|dir|folder|root", re.IGNORECASE)
_OF_NUMBERS = re.compile(
    r"(?:.*_)?(?:ids?|idxs?|indices|index|dims?|axes|axis|shapes?|sizes?|lengths?|steps?|epochs?|ranks?|levels?"
    r"|numbers|ints|positions|years|lines|layers)$",
    re.IGNORECASE,
)
"""How names end whose elements are mostly numbers, which hash to themselves."""
_COUNTING = ("range", "itertools.count")
_INDICES = ("_ids", "_idxs", "_indices")
_DEEPEST = 4  # sets that are made of sets, and names of them, which are followed


def check_orders(source: Parsed) -> Found:
    """Find DET201 to DET203: where the order of such a thing begins to go on."""
    use = _Use(source)
    iterated = [node.iter for kind in (ast.For, ast.comprehension) for node in source.nodes[kind]]
    given = [argument for call in source.nodes[ast.Call] for argument in call.args]
    for node in (*iterated, *given, *(node.value for node in source.nodes[ast.Starred])):
        if _is_set(source, node) and use.goes_on(node):
            yield node, "DET201", f"the order of {_WHAT['DET201']} is used"
    for call in source.nodes[ast.Call]:
        if (rule := _unordered(source, call)) and use.goes_on(call):
            yield call, rule, f"the order of {_WHAT[rule]} is used"


def check_hashes(source: Parsed) -> Found:
    """Find DET204: a remainder of a hash, and what is sorted or chosen by one. One that is a seed is DET104's."""
    for call in source.nodes[ast.Call]:
        key = next((one.value for one in call.keywords if one.arg == "key"), None)
        if name_of(call.func) in ("sorted", "sort", "min", "max") and key is not None:
            parts = source.walk(key) if isinstance(key, ast.Lambda) else [key]
            is_compared = isinstance(source.parents[call], ast.Compare)  # of equal things, in one process
            if not is_compared and any(source.full(part) == "hash" for part in parts):
                yield key, "DET204", f"{name_of(call.func)}(..., key=hash) goes by what differs in every process"
        elif source.called(call) == "hash" and _is_of_no_numbers(source, call) and _is_cut(source, call):
            yield call, "DET204", "a remainder of hash() is another one in every process"


def _is_of_no_numbers(source: Parsed, call: ast.Call) -> bool:
    return bool(call.args) and not any(map(_is_number, (call.args[0], source.value(call.args[0]))))


def _is_cut(source: Parsed, call: ast.Call) -> bool:
    """Whether a remainder of a hash is taken, and it is neither a seed nor the hash of an object."""
    is_remainder = False
    for above, child in source.above(call):
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return is_remainder and above.name != "__hash__"
        if seeds_with(source, above):
            return False
        is_remainder |= isinstance(above, ast.BinOp) and isinstance(above.op, ast.Mod) and child is above.left
    return is_remainder


def _unordered(source: Parsed, call: ast.Call) -> str:
    full = source.called(call)
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if full in _FINISHED or method == "imap_unordered":
        return "DET203"
    # Objects of other libraries have a `glob` too, and some sort.
    is_path = method in ("rglob", "iterdir") or (
        method == "glob"
        and (
            source.called(source.value(call.func.value)).endswith("Path")  # type: ignore[attr-defined]
            or _OF_PATHS.search(name_of(call.func.value))  # type: ignore[attr-defined]
        )
    )
    return "DET202" if full in _LISTING or is_path else ""


def _is_set(source: Parsed, node: Any) -> bool | None:
    """Whether a node is a set, and its elements may be other things than numbers; None: that is being looked for."""
    if isinstance(node, ast.Name):
        home, name = source.home(node), node.id
        if home is None:
            return False
        if name not in home.is_set:
            home.is_set[name] = None
            filled = [each for each in home.bound[name] if not _is_empty(source, each)]
            grown = [part for part in home.grown[name] if not _are_numbers(source, part)]
            home.is_set[name] = all(isinstance(each, ast.AST) and _is_set(source, each) for each in filled) and (
                bool(filled or grown) or any(_is_added_to(source, read) for read in home.reads[name])
            )
        return home.is_set[name]
    if is_of_self(node):
        key = source.around(node, ast.ClassDef), node.attr
        if key not in source.is_set_of_class:
            source.is_set_of_class[key] = None
            assigned = source.of_self.get(key, [])
            filled = [value for value in assigned if not _is_empty(source, value)]
            source.is_set_of_class[key] = all(_is_set(source, value) for value in filled) and (
                bool(filled) or (bool(assigned) and _is_filled(source, *key))
            )
        return source.is_set_of_class[key]
    if isinstance(node, (ast.Set, ast.SetComp)):
        return not _holds_numbers(source, node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)):
        sides = (node.left,) if isinstance(node.op, ast.Sub) else (node.left, node.right)
        return any(_is_set(source, side) for side in sides)
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in _OF_SETS:
        is_one = _is_set(source, node.func.value)
        grows = is_one is None and node.func.attr == "union"  # names = names.union(more), from an empty set on
        return is_one or (grows and not all(_are_numbers(source, more) for more in node.args))
    return source.called(node) in ("set", "frozenset") and bool(node.args) and not _are_numbers(source, node)


def _is_empty(source: Parsed, value: ast.AST | str) -> bool:
    return isinstance(value, ast.Call) and source.called(value) == "set" and not value.args


def _is_filled(source: Parsed, owner: ast.AST | None, name: str) -> bool:
    """Whether a set that is an attribute is given, by its methods, what may be other things than numbers."""
    methods = (call.func for call in source.nodes[ast.Call] if name_of(call.func) in ("add", "update"))
    sets = [method.value for method in methods if isinstance(method, ast.Attribute) and name_of(method.value) == name]
    own = [one for one in sets if is_of_self(one) and source.around(one, ast.ClassDef) is owner]
    return any(_is_added_to(source, one) for one in own)


def _is_added_to(source: Parsed, read: ast.AST) -> bool:
    """Whether a set is given there, by its method, what may be another thing than a number."""
    method: Any = source.parents[read]
    call: Any = source.parents.get(method)
    name = name_of(method) if isinstance(call, ast.Call) and call.func is method and call.args else ""
    if name == "update":
        return not _are_numbers(source, call.args[0])
    return name == "add" and not any(map(_is_number, (call.args[0], source.value(call.args[0]))))


def _are_numbers(source: Parsed, node: Any) -> bool:
    """Whether the elements of what a node stands for are numbers."""
    for _ in range(_DEEPEST):
        if _holds_numbers(source, node):
            return True
        is_made = source.called(node) in ("set", "frozenset") and bool(node.args)
        node = node.args[0] if is_made else source.value(node)
    return False


def _holds_numbers(source: Parsed, node: Any) -> bool:
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        source.spend(len(node.elts))
        return all(map(_is_number, node.elts))
    if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp)):
        return _is_number(node.elt)
    if isinstance(node, ast.Call) and name_of(node.func).endswith(_INDICES):
        return True
    return source.called(node) in ("range", "numpy.unique", "numpy.arange") or bool(_OF_NUMBERS.match(name_of(node)))


def _is_number(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        is_made = isinstance(node.func, ast.Name) and node.func.id in ("int", "len", "round", "bool")
        return is_made or name_of(node.func).startswith("is_")
    if isinstance(node, ast.Attribute) and node.attr == "device":
        return True  # it is hashed by its numbers
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):  # row["image_id"]
        return isinstance(node.slice.value, str) and bool(_OF_NUMBERS.match(node.slice.value))
    if isinstance(node, ast.BinOp):
        return _is_number(node.right)
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    if isinstance(node, ast.Tuple):
        return all(map(_is_number, node.elts))
    return (isinstance(node, ast.Constant) and isinstance(node.value, (int, float))) or bool(
        _OF_NUMBERS.match(name_of(node)) or (isinstance(node, ast.Name) and node.id in "ijkn")
    )


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant)


def _counts(node: ast.AugAssign) -> bool:
    return isinstance(node.op, ast.Add) and isinstance(node.value, ast.Constant) and bool(name_of(node.target))


def _is_length_of(node: ast.AST, name: str) -> bool:
    """Whether a node is `len(name)`: in a loop that fills it, the next number."""
    is_length = isinstance(node, ast.Call) and name_of(node.func) == "len" and bool(node.args)
    return is_length and bool(name) and name_of(node.args[0]) == name  # type: ignore[attr-defined]


class _Use:
    """Follows an order to whatever depends on it; what is not known to do so is taken not to."""

    def __init__(self, source: Parsed) -> None:
        self.source = source
        self.seen: set[ast.AST] = set()
        self.calls: defaultdict[str, list[ast.Call]] = defaultdict(list)
        self.counted: dict[ast.AST, bool] = {}
        for call in source.nodes[ast.Call]:
            owner = name_of(call.func.value) if isinstance(call.func, ast.Attribute) else "self"
            if owner in ("self", "cls"):
                self.calls[name_of(call.func)].append(call)
        sorting = filter(self._sorts, source.nodes[ast.Call])
        within = [part for call in sorting for part in source.walk(call)]
        self.sorted = {part.value if isinstance(part, ast.Constant) else name_of(part) for part in within}

    def goes_on(self, node: ast.AST) -> bool:
        """Whether anything depends on the order in which this has its elements."""
        self.seen.clear()
        return self._goes_on(node, is_first=True)

    def _goes_on(self, node: ast.AST, is_first: bool = False) -> bool:
        if node in self.seen:
            return False
        self.seen.add(node)
        parent: Any = self.source.parents[node]
        if isinstance(parent, ast.Call):
            return node is not parent.func and self._by_call(node, parent)
        if isinstance(parent, ast.comprehension):
            whole = self.source.parents[parent]
            is_numbered = isinstance(whole, ast.DictComp) and self.source.called(node) == "enumerate"
            return is_numbered or (isinstance(whole, (ast.ListComp, ast.GeneratorExp)) and self._goes_on(whole))
        if isinstance(parent, ast.For):
            return node is parent.iter and self._by_loop(parent, self.source.called(node) == "enumerate")
        if isinstance(parent, ast.Starred):
            display = self.source.parents[parent]
            return isinstance(display, (ast.List, ast.Tuple)) and self._goes_on(display)
        if _is_set(self.source, node):
            return False  # still a set
        if isinstance(parent, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
            return len(targets) == 1 and self._stored(targets[0], parent)
        if isinstance(parent, (ast.Return, ast.YieldFrom)):
            return self._returned(parent, is_first)
        if isinstance(parent, ast.Tuple) and isinstance(self.source.parents[parent], ast.Return):
            self.source.spend(len(parent.elts))
            return self._returned(parent, is_first, parent.elts.index(node))  # type: ignore[arg-type]
        if isinstance(parent, ast.Subscript):
            is_folder = name_of(self.source.parents[parent]) == "parent"
            return node is parent.value and not is_folder and not self._is_counted(node)
        is_passed_on = isinstance(parent, (ast.BinOp, ast.BoolOp)) or (
            isinstance(parent, ast.IfExp) and node is not parent.test
        )
        return isinstance(parent, ast.Yield) or (is_passed_on and self._goes_on(parent))

    def _by_call(self, node: ast.AST, call: ast.Call) -> bool:
        full = self.source.called(call)
        if full == "next":
            is_message = isinstance(self.source.around(call, ast.stmt), ast.Raise)
            return self.source.called(node) == "iter" and not is_message and not self._is_counted(node)
        if full == "zip" and self._is_paired(node, call):
            return True
        if name_of(call.func) == "extend" and isinstance(call.func, ast.Attribute):
            return self._stored(call.func.value, call)
        return name_of(call.func) == "parametrize" or (full in _KEEP and self._goes_on(call))

    def _is_paired(self, node: ast.AST, zip_: ast.Call) -> bool:
        """Whether elements are put beside numbers, or what is finished first beside what was begun first."""
        self.source.spend(len(zip_.args))
        others = [self.source.called(other) for other in zip_.args if other is not node]
        is_finished = isinstance(node, ast.Call) and _unordered(self.source, node) == "DET203"
        return bool(others) and (is_finished or any(other in _COUNTING for other in others))

    def _by_loop(self, loop: ast.For, is_numbered: bool) -> bool:
        body = [part for statement in loop.body for part in self.source.walk(statement)]
        if any(map(self._sorts, body)):
            return False
        if any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in body):
            return self._yielded(loop)
        numbers = {name_of(part.target) for part in body if isinstance(part, ast.AugAssign) and _counts(part)}
        numbers -= {name_of(part) for part in body if isinstance(part, ast.Name) and self._is_begun(part)}
        if is_numbered and isinstance(loop.target, ast.Tuple):
            numbers.add(name_of(loop.target.elts[0]))
        for store in body:
            if isinstance(store, ast.Assign) and isinstance(table := store.targets[0], ast.Subscript):
                parts = [*self.source.walk(store)]
                if any(name_of(part) in numbers or _is_length_of(part, name_of(table.value)) for part in parts):
                    return True
        calls = [part for part in body if isinstance(part, ast.Call) and not all(map(_is_constant, part.args))]
        methods = [call.func for call in calls if isinstance(call.func, ast.Attribute)]
        return any(method.attr in _ADDING and self._stored(method.value, loop) for method in methods)

    def _is_begun(self, name: ast.Name) -> bool:
        return isinstance(name.ctx, ast.Store) and not isinstance(self.source.parents[name], ast.AugAssign)

    def _stored(self, target: ast.AST, since: ast.AST) -> bool:
        """Whether anything depends on the order of what a statement assigned to a target, or added to it."""
        name = name_of(target)
        if isinstance(target, ast.Subscript):
            return isinstance(target.slice, ast.Constant) and target.slice.value not in self.sorted
        if not isinstance(target, ast.Name) or name == "__all__":
            return isinstance(target, ast.Attribute) and name not in {"__all__", *self.sorted}
        home = self.source.home(target)
        self.source.spend(len(self.source.reads(target)) + len(self.source.bindings(target)))
        lines = [getattr(value, "end_lineno", 0) for value in self.source.bindings(target)]
        first = getattr(since, "lineno", 0)
        last = min((line for line in lines if line > getattr(since, "end_lineno", 0)), default=1 << 40)
        reads = [read for read in self.source.reads(target) if first <= read.lineno <= last]
        reads = [read for read in reads if name_of(self.source.parents[read]) not in _ADDING]
        if home is self.source.module and not reads:
            return True  # it is for other files
        is_sorted = any(self._sorts(above) for read in reads for above, _ in islice(self.source.above(read), 2))
        return not is_sorted and any(map(self._goes_on, reads))

    def _returned(self, node: ast.AST, is_first: bool, place: int = -1) -> bool:
        """Whether any caller in the file depends on it; where there is none, whether an order was made of it here."""
        function = self.source.around(node, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        name = getattr(function, "name", "")
        calls = self._callers(function)
        if not calls:
            return not is_first and name != "__dir__"  # `dir` sorts
        return any(self._goes_on(call) if place < 0 else self._unpacked(call, place) for call in calls)

    def _yielded(self, node: ast.AST) -> bool:
        """Whether any caller in the file depends on it, or gives what is yielded to a function that may."""
        calls = self._callers(self.source.around(node, ast.FunctionDef, ast.AsyncFunctionDef))
        return not calls or any(self._is_given_away(call) or self._goes_on(call) for call in calls)

    def _is_given_away(self, call: ast.Call) -> bool:
        parent = self.source.parents[call]
        is_plain = isinstance(parent, ast.Call) and name_of(parent.func) in (*_SORTING, *_ORDERLESS)
        return isinstance(parent, (ast.Call, ast.keyword)) and not is_plain

    def _callers(self, function: Any) -> list[ast.Call]:
        """Return the calls of a function in the file, without its own."""
        name = getattr(function, "name", "")
        calls = self.calls[name] if name else []
        self.source.spend(len(calls))
        return [call for call in calls if not function.lineno <= call.lineno <= function.end_lineno]

    def _unpacked(self, call: ast.Call, place: int) -> bool:
        """Whether anything depends on the order of one of those that a call returns."""
        parent: Any = self.source.parents[call]
        if isinstance(parent, ast.Return):
            return self._returned(parent, False, place)
        targets = parent.targets if isinstance(parent, ast.Assign) else []
        tuples = [target.elts for target in targets if isinstance(target, ast.Tuple)]
        return any(place < len(parts) and self._stored(parts[place], parent) for parts in tuples)

    def _sorts(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and name_of(node.func) in _SORTING

    def _is_counted(self, node: ast.AST) -> bool:
        """Whether the function looks how many there are: of one there is no order."""
        function = self.source.around(node, ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)
        if function not in self.counted:
            compared = (part for part in self.source.walk(function) if isinstance(part, ast.Compare))
            self.counted[function] = any(map(self._is_number_asked, compared))
        return self.counted[function]

    def _is_number_asked(self, compare: ast.Compare) -> bool:
        """Whether a number of things is compared, and not only whether there are any."""
        (operator, *_), (other, *_) = compare.ops, compare.comparators
        number = other.value if isinstance(other, ast.Constant) else None
        is_any = number == 0 or (number == 1 and isinstance(operator, (ast.GtE, ast.Lt)))
        return not is_any and self.source.called(self.source.value(compare.left)) == "len"

"""Files that were made up, with a right checksum: nothing but our errors comes, little is allocated, nothing is run."""

from __future__ import annotations

import copy
import json
import random
import resource
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deterministic import save_checkpoint
from deterministic.checkpoint import container as file
from deterministic.checkpoint.container import read, write
from deterministic.errors import CheckpointError, ResumeMismatchError

from .written import Forgery, assert_refused, forged, load_value

pytestmark = pytest.mark.filterwarnings("ignore")  # of what torch calls prototypes

HUGE = 2**61


@pytest.fixture
def forgery(tmp_path: Path) -> Forgery:
    return forged(tmp_path / "a", torch.arange(12.0).reshape(3, 4))


def test_what_these_tests_change_is_read_when_it_is_right(forgery: Forgery) -> None:
    forgery.replace_value([forgery.plain_value(), {"$tuple": [1]}])
    tensor, other = load_value(forgery.path)
    assert torch.equal(tensor, torch.arange(12.0).reshape(3, 4))
    assert other == (1,)


PLAIN: list[dict[str, Any]] = [
    {"$nothing": 1},
    {"$": 1},
    {"$tensor": None},
    {"$tensor": []},
    {"$tensor": "x"},
    {"$tensor": {"$tensor": {}}},
    {"$tuple": 5},
    {"$dict": [[1]]},
    {"$dict": [[[], 1]]},
    {"$dict": 5},
    {"$set": [[]]},
    {"$set": [{}]},
    {"$frozenset": [{"$set": []}]},
    {"$float": "00"},
    {"$float": 5},
    {"$float": "zz"},
    {"$int": "x"},
    {"$int": 5},
    {"$complex": ["1", "2"]},
    {"$bytes": "é"},
    {"$bytes": "x"},
    {"$bytes": 5},
    {"$deque": []},
    {"$deque": [[], -1]},
    {"$deque": [[], "x"]},
    {"$deque": [[], 10**30]},
    {"$range": [0, 1, 0]},
    {"$range": ["a"]},
    {"$slice": []},
    {"$slice": [1, 2, 3, 4]},
    {"$size": ["a"]},
    {"$dtype": "Tensor"},
    {"$dtype": []},
    {"$device": "nowhere"},
    {"$device": "cpu:-5"},
    {"$device": []},
    {"$device": 5},
    {"$defaultdict": ["eval", []]},
    {"$defaultdict": [[1], []]},
    {"$defaultdict": ["Counter", []]},
    {"$defaultdict": []},
    {"$Counter": 5},
    {"$Counter": [[1]]},
    {"$OrderedDict": [5]},
    {"$state": [[5], {}]},
    {"$state": [[]]},
    {"$state": 5},
    {"$scalar": ["<f4", ""]},
    {"$scalar": ["O", "AAAAAAAAAAA="]},
    {"$scalar": ["f4,O", "AAAAAAAAAAA="]},
    {"$scalar": ["nothing", "AAAA"]},
    {"$scalar": [None, "AAAAAAAAAAA="]},
    {"$scalar": [{"names": [], "formats": []}, "AAAA"]},
    {"$scalar": ["S2000000000", "AAAA"]},
    {"$scalar": []},
    {"$array": []},
    {"$array": ["<f4", [3, 4], None]},
    {"a": {"$tuple": [{"$nothing": 1}]}},
]


@pytest.mark.parametrize("plain", PLAIN, ids=lambda plain: str(plain)[:50])
def test_a_tag_that_is_unknown_or_holds_something_else_is_refused(plain: Any, forgery: Forgery) -> None:
    forgery.replace_value(plain)
    assert_refused(forgery.path)


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (AttributeError("a fault of ours"), AttributeError, "a fault of ours"),
        (MemoryError("none left"), CheckpointError, "cannot be read\n  found: none left"),
        (torch.OutOfMemoryError("none left"), CheckpointError, "cannot be read\n  found: none left"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_fault_of_ours_and_a_lack_of_memory_are_no_forgery(
    error: Exception, expected: type[Exception], text: str, forgery: Forgery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(file, "decode", fail)
    with pytest.raises(expected, match=text):
        load_value(forgery.path)


ALIKE = [number * (2**61 - 1) for number in range(102)]
"""Integers that Python gives one hash; as many as these cost it nothing."""


@pytest.mark.parametrize("tag", ["$set", "$frozenset", "$dict", "$OrderedDict", "$state", "$Counter", "$defaultdict"])
@pytest.mark.parametrize("kind", ["integers", "tuples", "floats and integers"])
def test_many_keys_of_one_hash_are_refused_before_they_are_compared(tag: str, kind: str, forgery: Forgery) -> None:
    keys: list[Any] = [{"$tuple": [1, key]} for key in ALIKE] if kind == "tuples" else [*ALIKE]
    if kind == "floats and integers":
        keys[1] = 0.0
    items: list[Any] = keys if "set" in tag else [[key, 1] for key in keys]
    for most, is_read in ((100, True), (102, False)):
        parts = {"$defaultdict": ["int", items[:most]], "$state": [items[:most], {}]}
        forgery.replace_value({tag: parts.get(tag, items[:most])})
        if is_read:
            assert len(load_value(forgery.path)) in (99, 100)
        else:
            assert_refused(forgery.path, "more than 100 keys with one hash")


@pytest.mark.parametrize("value", [set(ALIKE), dict.fromkeys(ALIKE), [Counter(ALIKE)]], ids=["set", "dict", "Counter"])
def test_what_could_not_be_read_is_not_written(value: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be stored in a checkpoint; nothing was written\n.*one hash"):
        save_checkpoint(tmp_path / "a", value=value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("place", "change"),
    [(0, "O"), (0, "f4,f4"), (0, "<f8"), (0, None), (0, ["f4"]), (0, "<c32")]
    + [(1, shape) for shape in ([5], [HUGE, HUGE], [-1, -1], ["a"], "x", [1.5])],
)
def test_an_array_that_is_not_within_its_memory_is_refused(place: int, change: Any, tmp_path: Path) -> None:
    forgery = forged(tmp_path / "a", np.arange(3, dtype=np.float32))
    plain = forgery.plain_value()
    plain["$array"][place] = change
    forgery.replace_value(plain)
    assert_refused(forgery.path)


def test_many_arrays_of_one_memory_take_it_once(tmp_path: Path) -> None:
    forgery = forged(tmp_path / "a", np.zeros(2**20, np.uint8))
    forgery.replace_value([forgery.plain_value()] * 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(load_value(forgery.path)) == 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18


def test_json_that_is_nested_deep_is_refused(forgery: Forgery) -> None:
    deepest = sys.getrecursionlimit()
    for deep in ("[" * 10**5, '{"a":' * 10**5, "[" * deepest + "]" * deepest, '{"$tuple":[' * deepest + "]}" * deepest):
        forgery.replace_text("values", '{"generators":{},"objects":{"value":{"value":' + deep + "}}}")
        assert_refused(forgery.path)
    for name in ("head", "storages"):
        forgery.replace_text(name, "[" * 10**5)
        assert_refused(forgery.path)


@pytest.mark.parametrize("name", ["values", "head", "storages"])
@pytest.mark.parametrize("text", ["", "{", "[]]", "5", "null", "[1]", '"x"', '{"a":1', "7" * 5000, "[[]]", "\ud800"])
def test_a_text_that_is_something_else_is_refused(name: str, text: str, forgery: Forgery) -> None:
    forgery.replace_text(name, text)
    assert_refused(forgery.path)


def test_a_text_that_is_missing_is_refused(forgery: Forgery) -> None:
    for name in ("values", "head", "storages"):
        texts = {key: text for key, text in forgery.header["__metadata__"].items() if key != name}
        forgery.write({**forgery.header, "__metadata__": texts})
        assert_refused(forgery.path)


NOT_OF_A_TRAINING = [
    {},
    {"generators": {}, "objects": {}},
    {"generators": {"process": []}, "objects": {}},
    {"generators": {"process": {}}, "objects": []},
    {"generators": {"process": {}}, "objects": {"value": 5}},
    {"generators": {"process": {}}, "objects": {"value": {}}},
    {"generators": {"process": {}}, "objects": {"value": {"state": {}, "value": 1}}},
    {"generators": {"process": {}}, "objects": {"value": {"state": {}, "gradients": {}}}},
    {"generators": {"process": {}}, "objects": {"value": {"state": 1, "versions": {}, "buffers": {}, "gradients": {}}}},
]


@pytest.mark.parametrize("values", NOT_OF_A_TRAINING, ids=lambda values: json.dumps(values)[:60])
def test_values_that_are_those_of_no_training_are_refused(values: Any, forgery: Forgery) -> None:
    forgery.replace_text("values", values)
    assert_refused(forgery.path, "does not have the generators and objects of a training")


@pytest.mark.parametrize("state", [{}, {"nothing": 1}])
def test_generators_of_another_process_are_refused(state: Any, forgery: Forgery) -> None:
    values = forgery.text("values")
    values["generators"]["process"] = state
    forgery.replace_text("values", values)
    with pytest.raises(ResumeMismatchError, match="covers other generators"):
        load_value(forgery.path)


@pytest.mark.parametrize("name", ["python.random", "numpy.random", "torch.cpu"])
@pytest.mark.parametrize("state", [None, 5, "x", [], {}, [1, 2], {"a": []}], ids=str)
def test_states_that_no_generator_has_are_refused_and_none_is_moved(name: str, state: Any, forgery: Forgery) -> None:
    values = forgery.text("values")
    values["generators"]["process"][name] = state
    forgery.replace_text("values", values)
    was, was_torch = random.getstate(), torch.get_rng_state()
    random.random()
    torch.rand(1)
    before, before_torch = random.getstate(), torch.get_rng_state()
    try:
        with pytest.raises(ResumeMismatchError, match="fit this process"):
            load_value(forgery.path)
        assert random.getstate() == before
        assert torch.equal(torch.get_rng_state(), before_torch)
    finally:
        random.setstate(was)
        torch.set_rng_state(was_torch)


@pytest.mark.parametrize("conditions", [5, [], "x", None])
def test_conditions_that_are_none_are_refused(conditions: Any, forgery: Forgery) -> None:
    forgery.replace_text("head", {"conditions": conditions})
    assert_refused(forgery.path, "does not have the generators and objects of a training")


KEYS = st.text(max_size=3) | st.sampled_from([name for plain in PLAIN for name in plain])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([2**31, 2**63, -1]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


def places(plain: Any) -> list[tuple[Any, Any]]:
    """Return every place in a JSON that can be replaced: a container, and its key or index."""
    found: list[tuple[Any, Any]] = []
    if isinstance(plain, dict):
        found = [(plain, key) for key in plain]
    elif isinstance(plain, list):
        found = [(plain, index) for index in range(len(plain))]
    return found + [place for container, key in found for place in places(container[key])]


RICH = {
    "tensor": torch.arange(6.0).reshape(2, 3),
    "view": torch.arange(6.0)[1::2],
    "csr": torch.eye(3).to_sparse(),
    "array": np.arange(3),
    "scalar": np.float32(1),
    "rest": [(1, 2.5), {1: {2}}, Counter("ab"), range(3), slice(1), torch.float32, torch.device("cpu"), b"x", 1j],
}


@given(data=st.data())
def test_anything_in_the_place_of_anything_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    write(path, {"conditions": {}, "a": [1]}, {"x": RICH})
    forgery = Forgery(path)
    name = data.draw(st.sampled_from(["values", "values", "values", "storages", "head"]))
    plain = copy.deepcopy({"": forgery.text(name)})
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(plain)))
        container[key] = data.draw(JSON)
        if not places(plain):
            break
    forgery.replace_text(name, json.dumps(plain[""]))
    try:
        found = read(path)
    except CheckpointError:
        return
    repr(found.values)

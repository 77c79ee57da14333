"""The arguments of `reproducible`: what help shows, and what is said of one that is wrong."""

from __future__ import annotations

import inspect
import re
from typing import Any, cast

import numpy as np
import pytest
import torch

from deterministic import (
    Checkpoint,
    diff,
    load_checkpoint,
    make_loader,
    record,
    reproducible,
    save_checkpoint,
    seed_everything,
)
from deterministic.ground.arguments import boolean, choice, count
from deterministic.ground.synonyms import explained

STRONGER = "deterministic=True covers every operation"


def test_an_argument_that_does_not_exist_is_named_as_it_was_written() -> None:
    make: Any = reproducible
    with pytest.raises(TypeError, match=r"found: sede=\n.*seed, deterministic, generators.*\nWrite seed=42."):
        make(sede=42)
    with pytest.raises(TypeError, match=r"found: lr=\n(.|\n)*help\(deterministic.reproducible\)"):
        make(lr=1)
    with pytest.raises(TypeError, match="is not an integer"):
        make(num_threads="2")


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ({"random_seed": 7}, "seed=7"),
        ({"Random_State": 7}, "seed=7"),
        ({"warn_only": True}, "deterministic='warn'"),
        ({"warn_only": False}, "deterministic=True"),
        ({"cudnn": True}, f"deterministic='cudnn', which covers cuDNN alone; {STRONGER}"),
        ({"deterministic_cudnn": True}, f"deterministic='cudnn', which covers cuDNN alone; {STRONGER}"),
        ({"cudnn_deterministic": False}, f"deterministic=False, which only seeds; {STRONGER}"),
        ({"cudnn_deterministic": "False"}, f"deterministic=False, which only seeds; {STRONGER}"),
        ({"benchmark": True}, f"deterministic=False, which only seeds; {STRONGER}"),
        ({"benchmark": False}, "deterministic=True"),
        ({"cudnn_benchmark": False}, "deterministic=True"),
        ({"use_deterministic_algorithms": True}, "deterministic=True"),
        ({"n_threads": 2}, "num_threads=2"),
    ],
    ids=str,
)
def test_an_argument_of_another_library_is_told_as_what_it_is_here(arguments: dict[str, Any], written: str) -> None:
    for call in (reproducible, seed_everything):
        if call is reproducible or "threads" not in written:
            with pytest.raises(TypeError, match=rf"Write {re.escape(written)}\.$"):
                call(**arguments)


def test_what_a_loader_leaves_to_the_scope_is_told_so() -> None:
    with pytest.raises(TypeError, match=r"Write `with reproducible\(deterministic='warn'\):` around it\.$"):
        make_loader([1], warn_only=True, seed=1)


def test_what_would_change_the_result_is_not_to_be_left_out() -> None:
    make: Any = reproducible
    with pytest.raises(TypeError, match=r"make_loader seeds the workers .* worker_init_fn=seed_worker"):
        make(seed=1, workers=True)
    for call, example in ((make, "reproducible"), (cast(Any, seed_everything), "seed_everything")):
        with pytest.raises(
            TypeError, match=rf"found: a value of type bool without a name\nWrite {example}\(.*deterministic=True"
        ):
            call(1, True)
    with pytest.raises(TypeError, match=r"Write reproducible\(seed=42, deterministic='warn'\)"):
        make(1, "warn")


def test_what_stands_beside_a_function_is_refused_or_taken_by_its_name() -> None:
    make: Any = reproducible
    with pytest.raises(TypeError, match=r"found: a value of type int without a name\nWrite reproducible\("):
        make(lambda: 1, 3)
    draws = make(lambda: torch.rand(1).item(), seed=3)
    assert draws() == draws()
    with pytest.raises(TypeError, match="multiple values for argument 'seed'"):
        make(1, seed=1)


def test_what_is_wrong_otherwise_is_told_as_it_is() -> None:
    @explained("outer(1)")
    def outer(x: int) -> None:
        int("1", bose=x)  # type: ignore[call-overload]

    with pytest.raises(TypeError, match="bose"):
        outer(1)
    with pytest.raises(TypeError, match=r"outer\(\) missing 1 required positional argument: 'x'"):
        outer()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "call",
    [
        lambda model: Checkpoint(model),
        lambda model: record(model),
        lambda model: diff("a.trace", model),
        lambda model: save_checkpoint(model),
        lambda model: load_checkpoint(model),
    ],
    ids=["Checkpoint", "record", "diff", "save_checkpoint", "load_checkpoint"],
)
def test_what_is_no_path_where_one_belongs_is_told_with_a_right_call(call: Any, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    with pytest.raises(TypeError, match=rf"of {name}\(\) is not a path\n.*Identity(.|\n)*Write {name}\("):
        call(torch.nn.Identity())


def test_a_trace_is_seeded_by_the_scope_around_it() -> None:
    make: Any = record
    with pytest.raises(TypeError, match=r"Write `with reproducible\(seed=3\):` around it\.$"):
        make("a.trace", seed=3)


def test_objects_to_save_have_names() -> None:
    for call in (cast(Any, save_checkpoint), cast(Any, load_checkpoint)):
        with pytest.raises(
            TypeError, match=rf"found: a value of type Identity without a name\nWrite {call.__name__}\(path, model="
        ):
            call("a.safetensors", torch.nn.Identity())


def test_a_scope_wants_its_parentheses() -> None:
    bare: Any = reproducible
    with pytest.raises(TypeError, match=r"without parentheses\nWrite `with reproducible\(seed=42\) as run:`"), bare:
        pass
    with pytest.raises(AttributeError, match=r"`scope = reproducible\(seed=42\)` and then `scope.start\(\)`"):
        bare.start()
    assert not hasattr(bare, "anything")


def test_a_generator_alone_is_no_list_of_them() -> None:
    make: Any = reproducible
    with pytest.raises(TypeError, match=r"generators=\[generator\]"):
        make(generators=torch.Generator())


def test_help_shows_the_arguments() -> None:
    shown = str(inspect.signature(reproducible))
    assert shown.startswith("(seed: 'int | None | Omitted' = <omitted>, *, deterministic: 'Level' = True,")


@pytest.mark.parametrize(
    ("value", "number"), [(0, 0), (7, 7), (np.int64(3), 3), (np.uint8(3), 3), (torch.tensor(5), 5)]
)
def test_a_count_is_returned_as_an_int(value: Any, number: int) -> None:
    assert count("n", value) == number
    assert type(count("n", value)) is int


@pytest.mark.parametrize("value", [True, np.False_, 1.0, "1", None, [1]], ids=repr)
def test_what_is_no_integer_is_no_count(value: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^n is not an integer\n  found: .*\n  expected: an int, 2 or more\nPass a num"
    ):
        count("n", value, least=2)


def test_a_count_that_is_too_small_is_told_by_how_much_and_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"^n is negative\n  found: -1\n  expected: an int, 0 or more\nPass .* n=1.$"):
        count("n", -1)
    with pytest.raises(ValueError, match=r"^n is below 2\n  found: 1\n  expected: an int, 2 or more\nCompare two.$"):
        count("n", 1, least=2, remedy="Compare two.")


def test_a_bool_is_no_other_thing_that_is_true() -> None:
    assert boolean("b", True) is True
    for value in (1, "yes", None, np.True_):
        with pytest.raises(TypeError, match=r"^b is not a bool\n  found: "):
            boolean("b", value)


def test_a_choice_is_one_of_those_allowed() -> None:
    assert choice("c", "a", ("a", "b")) == "a"
    for value in ("d", 1, None, [], ["a"]):
        with pytest.raises(ValueError, match=r"^c= is not one of its choices\n  found: .*\n  expected: 'a', 'b'\nPass"):
            choice("c", value, ("a", "b"))
    levels: dict[Any, str] = {True: "on", "a": "half"}
    with pytest.raises(TypeError, match=r"^c= is not a level\n  found: 1\n  True: on\n  'a': half\nPass"):
        choice("c", 1, levels, what="not a level", error=TypeError)

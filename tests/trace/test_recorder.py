"""A recorder leaves everything as it was, changes no result, keeps nothing alive, and grows with nothing."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deterministic.trace.file.model import TRACE_LEVELS, TraceLevel
from deterministic.trace.recording.recorder import Recorder
from deterministic.trace.recording.seeding import ACTIVE

from .models import MODELS, Transformer, batches, loss_of, train
from .recorded import Memory, recorded, state_of_process

pytestmark = pytest.mark.usefixtures("apart")


@pytest.mark.parametrize("level", TRACE_LEVELS)
@pytest.mark.parametrize("error", [None, ValueError(), KeyboardInterrupt()])
def test_everything_is_as_it_was_however_it_ends(level: TraceLevel, error: BaseException | None) -> None:
    before = state_of_process()
    model = Transformer().eval()
    x, _ = next(batches(1))
    before = state_of_process()

    def body() -> None:
        model(x).sum().backward()
        assert len(ACTIVE) == 1
        if error is not None:
            raise error

    for _ in range(2):
        if error is None:
            recorded(body, level)
        else:
            with pytest.raises(type(error)):
                recorded(body, level)
        assert state_of_process() == before


def test_a_start_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_of_process()
    recorder = Recorder(Memory(), "ops")
    monkeypatch.setattr(recorder, "_open_window", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        recorder.start()
    assert state_of_process() == before
    recorder.stop()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("level", TRACE_LEVELS)
def test_no_bit_of_a_training_and_no_draw_is_changed(name: str, level: TraceLevel) -> None:
    torch.default_generator.manual_seed(5)
    first = MODELS[name]()
    second, plain = copy.deepcopy(first), torch.default_generator.get_state()
    loss = train(first, 3)
    after = torch.default_generator.get_state()
    torch.default_generator.set_state(plain)
    assert recorded(lambda: train(second, 3), level).result == loss
    assert torch.equal(torch.default_generator.get_state(), after)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_the_graph_of_autograd_is_the_same() -> None:
    def nodes(tensor: Tensor) -> list[str]:
        found, waiting = [], [tensor.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is not None:
                found.append(node.name())
                waiting += [following for following, _ in node.next_functions]
        return found

    model = Transformer().eval()
    x, y = next(batches(1))
    plain = nodes(loss_of(model, x, y))
    for level in TRACE_LEVELS:
        assert nodes(recorded(lambda: loss_of(model, x, y), level).result) == plain


@pytest.mark.parametrize("level", TRACE_LEVELS)
def test_two_runs_are_recorded_alike(level: TraceLevel) -> None:
    def run() -> Any:
        torch.default_generator.manual_seed(5)
        return recorded(lambda: train(MODELS["lstm"](), 2), level)

    first, second = run(), run()
    assert first.sites == second.sites
    assert first.hashes() == second.hashes()


def sizes(recorder: Recorder) -> dict[str, int]:
    parts: dict[str, Any] = {
        "spots": recorder._places._spots,
        "kinds": recorder._places._kinds,
        "modules at": recorder._attribution._modules_at,
        "numbers": recorder._attribution._last_numbers,
        "sites": recorder._log._indexes,
        "draft sites": recorder._records._sites,
        "stacks": recorder._modules._stacks,
        "names": recorder._states._names,
        "marks": recorder._states._marks,
        "hashes": recorder._states._hashes,
    }
    assert len(recorder._storages) <= 1 << 12
    return {name: len(part) for name, part in parts.items()} | {
        "forward": max(map(len, recorder._attribution._forward))
    }


def test_nothing_grows_with_the_number_of_steps() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1), nn.Linear(2, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999)
    recorder = Recorder(Memory(), "ops")
    found = []
    recorder.start()
    try:
        for step in range(400):
            optimizer.zero_grad()
            model(torch.ones(3, 2) * step).sum().backward()
            optimizer.step()
            schedule.step()
            if step in (100, 399):
                found.append(sizes(recorder))
    finally:
        recorder.stop()
    assert found[0] == found[1]


def test_nothing_grows_without_steps_either(monkeypatch: pytest.MonkeyPatch) -> None:
    from deterministic.trace.recording import attribution

    monkeypatch.setattr(attribution, "LONGEST_GENERATION", 50)
    model = nn.Linear(2, 2)
    recorder = Recorder(Memory(), "ops")
    recorder.start()
    try:
        for _ in range(1000):
            model(torch.ones(3, 2)).sum().backward()
        assert sum(map(len, recorder._attribution._forward)) <= 8 * 50
        assert len(recorder._storages) <= 1 << 12
    finally:
        recorder.stop()


@pytest.mark.parametrize("level", TRACE_LEVELS)
def test_no_tensor_of_the_user_s_is_kept(level: TraceLevel) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    references: list[weakref.ref[Tensor]] = []

    def step() -> None:
        x = torch.ones(3, 2)
        y = model(x)
        references.extend((weakref.ref(x), weakref.ref(y)))
        y.sum().backward()
        optimizer.step()

    def body() -> None:
        step()
        gc.collect()
        assert [reference() for reference in references] == [None, None]

    recorded(body, level)


def test_a_model_is_not_kept() -> None:
    def body() -> None:
        model = Transformer()
        train(model, 1)
        reference = weakref.ref(model)
        del model
        gc.collect()
        assert reference() is None

    recorded(body)

"""Trainings that are not reproducible, each for another reason, and what a verdict on them must say.

Each is a function of the number of the run, which stands for whatever differs between two runs: the time, the memory,
the hash seed. The line that is to be blamed ends in "the fault".
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from deterministic.trace.comparing.reasons import Reason
from tests.trace.models import Transformer, loss_of, train


def copied(x: Tensor, flips: bool) -> Tensor:
    """Return a copy, with one bit of its last element flipped or not; not the lowest, which a sum may round away."""
    result = x.clone()
    if flips:
        result.view(-1).view(torch.int32)[-1] ^= 1 << 16
    return result


@torch.library.custom_op("deterministic_tests::noisy", mutates_args=())
def noisy(x: Tensor) -> Tensor:
    """A kernel of somebody's that gives two answers to one question."""
    return copied(x, Noisy.flips == "forward")


@torch.library.custom_op("deterministic_tests::noisy_backward", mutates_args=())
def noisy_backward(gradient: Tensor) -> Tensor:
    return copied(gradient, Noisy.flips == "backward")


def backward_of_noisy(context: Any, gradient: Tensor) -> Tensor:
    result: Tensor = noisy_backward(gradient)  # the fault
    return result


noisy.register_autograd(backward_of_noisy)


class Noisy(nn.Module):
    flips = ""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = noisy(x)  # the fault
        return result


def two_answers(phase: str) -> Callable[[int], float]:
    def trained(run: int) -> float:
        model = Transformer()
        model.blocks[1].drop = Noisy()

        def before(step: int) -> None:
            Noisy.flips = phase if run and step == 2 else ""

        return train(model, before=before)

    return trained


class OwnDropout(nn.Module):
    def __init__(self, run: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(run)

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(x.shape, generator=self.generator) > 0.1)  # the fault


def unseeded_generator(run: int) -> float:
    model = Transformer()
    model.blocks[1].drop = OwnDropout(run)
    return train(model)


class Clock(nn.Module):
    def __init__(self, run: int) -> None:
        super().__init__()
        self.now = run / 7

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + 1e-3 * self.now)  # the fault


def time_in_forward(run: int) -> float:
    model = Transformer()
    model.blocks[0].norm = nn.Sequential(model.blocks[0].norm, Clock(run))  # type: ignore[arg-type]
    return train(model)


class Unfilled(nn.Module):
    def __init__(self, run: int) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        buffer = torch.empty(2 * x.shape[-1])  # allocated here
        memory = buffer.numpy()  # what the memory happens to hold
        memory[:] = self.run
        buffer[: x.shape[-1]] = 0.0
        return x + 1e-3 * buffer[-x.shape[-1] :].abs()  # the fault


def uninitialised(run: int) -> float:
    model = Transformer()
    model.blocks[1].norm = nn.Sequential(model.blocks[1].norm, Unfilled(run))  # type: ignore[arg-type]
    return train(model)


class Named:
    """Something whose place in a set is another one in each run, as that of a string is in each process."""

    def __init__(self, number: int, run: int) -> None:
        self.number, self.run = number, run

    def __hash__(self) -> int:
        return (self.number * 7 + self.run * 3) % 8


def set_order(run: int) -> float:
    features = {Named(number, run) for number in range(6)}

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        weights = torch.tensor([float(feature.number) for feature in features])  # the fault
        return loss_of(model, x, y) + 1e-2 * (weights * model.head.bias[:6]).sum()  # type: ignore[index,union-attr]

    return train(Transformer(), loss=loss)


def written_through_numpy(run: int) -> float:
    model = Transformer()

    def before(step: int) -> None:
        if run and step == 2:
            model.blocks[0].up.weight.detach().numpy()[0, 0] += 1e-3  # type: ignore[union-attr,operator]

    return train(model, before=before)


def extra_operation(run: int) -> float:
    steps = iter(range(100))

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        value = loss_of(model, x, y)
        if run and next(steps) == 2:
            value = value * 2  # the fault
        return value

    return train(Transformer(), loss=loss)


def other_batch_order(run: int) -> float:
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        order = np.random.default_rng(run).permutation(len(x))
        x, y = (torch.from_numpy(t.numpy()[order]) for t in (x, y))  # the fault
        return loss_of(model, x, y)

    return train(Transformer(), loss=loss)


def unseeded_numpy(run: int) -> float:
    generator = np.random.default_rng([run, 1])  # stands for default_rng(), which is the system's entropy

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        noise = torch.from_numpy(generator.standard_normal(1))  # the fault
        return loss_of(model, x, y) * (1 + 0.1 * noise.item())

    return train(Transformer(), loss=loss)


def race(run: int) -> float:
    total = torch.zeros(3)

    def add(value: float) -> None:
        total.mul_(0.5).add_(value)  # written here

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        for value in (1.0, 3.0) if run else (3.0, 1.0):  # stands for which of two threads is first
            thread = threading.Thread(target=add, args=(value,))
            thread.start()
            thread.join()
        return loss_of(model, x, y) + 1e-2 * (total.sum() * model.head.bias.sum())  # type: ignore[union-attr,operator]  # the fault

    return train(Transformer(), loss=loss)


def dropout_outside_the_scope(run: int) -> float:
    outside = torch.Generator().manual_seed(run)

    class Outside(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.empty_like(x).bernoulli_(0.9, generator=outside)  # the fault

    model = Transformer()
    model.blocks[0].drop = Outside()
    return train(model)


def in_eval_by_mistake(run: int) -> float:
    model = Transformer()

    def before(step: int) -> None:
        if run and step == 1:
            model.eval()

    return train(model, before=before)


def nan_payload(run: int) -> Tensor:
    bits = np.array([0x7FC00000 + run, 0], np.int32)
    return torch.from_numpy(bits.view(np.float32))  # the fault


def racing_accumulation() -> Tensor:
    """Accumulate into duplicate indexes: on a CPU with several threads, without deterministic algorithms, a race."""
    index, values = torch.randint(0, 100, (20_000,)), torch.randn(20_000, 64)
    return torch.zeros(100, 64).index_put_((index,), values, accumulate=True)  # the fault


class Fault(NamedTuple):
    """A training, and what there is to say of it.

    Attributes:
        train: The training.
        step: The first step that differs.
        operation: The name of the record that differs first.
        module: The module it is in.
        reason: Why.
        blamed: The function or class with the line to be blamed; None where it is in another file.
    """

    train: Callable[[int], Any]
    step: int
    operation: str
    module: str
    reason: Reason
    blamed: Any = None


def blamed_line(thing: Any) -> int:
    """Return the number of the line in `thing` that ends in "the fault"."""
    lines, first = inspect.getsourcelines(thing)
    return first + next(index for index, line in enumerate(lines) if line.rstrip().endswith("the fault"))


FAULTS = {
    "two answers in forward": Fault(
        two_answers("forward"), 2, "deterministic_tests.noisy.default", "blocks.1.drop", Reason.OPERATION, Noisy
    ),
    "two answers in backward": Fault(
        two_answers("backward"),
        2,
        "deterministic_tests.noisy_backward.default",
        "blocks.1.drop",
        Reason.OPERATION,
        backward_of_noisy,
    ),
    "unseeded generator": Fault(
        unseeded_generator, 0, "aten.rand.generator", "blocks.1.drop", Reason.GENERATOR, OwnDropout
    ),
    "time in forward": Fault(time_in_forward, 0, "aten.mul.Tensor", "blocks.0.norm.1", Reason.NUMBER, Clock),
    "uninitialised": Fault(uninitialised, 0, "aten.abs.default", "blocks.1.norm.1", Reason.UNINITIALISED, Unfilled),
    "set order": Fault(set_order, 0, "aten.lift_fresh.default", "", Reason.OUTSIDE, set_order),
    "written through numpy": Fault(
        written_through_numpy, 2, "aten.addmm.default", "blocks.0.up", Reason.UNTRACED_WRITE
    ),
    "extra operation": Fault(extra_operation, 2, "aten.mul.Tensor", "", Reason.CONTROL_FLOW, extra_operation),
    "other batch order": Fault(other_batch_order, 0, "aten.lift_fresh.default", "", Reason.OUTSIDE, other_batch_order),
    "unseeded numpy": Fault(unseeded_numpy, 0, "aten.lift_fresh.default", "", Reason.OUTSIDE, unseeded_numpy),
    "race": Fault(race, 0, "aten.sum.default", "", Reason.THREAD, race),
    "dropout outside the scope": Fault(
        dropout_outside_the_scope,
        0,
        "aten.bernoulli_.float",
        "blocks.0.drop",
        Reason.GENERATOR,
        dropout_outside_the_scope,
    ),
    "in eval by mistake": Fault(in_eval_by_mistake, 1, "", "blocks.0.drop", Reason.CONTROL_FLOW),
    "nan payload": Fault(nan_payload, 0, "aten.lift_fresh.default", "", Reason.OUTSIDE, nan_payload),
}

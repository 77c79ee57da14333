"""`world_invariant` on one process: what is refused before anything moves, and what a shard sees."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import orthogonal
from torch.utils.checkpoint import checkpoint

from deterministic import reproducible
from deterministic.distributed import invariant, ordered_reduction, world_invariant
from deterministic.errors import DeterministicError


@pytest.fixture(autouse=True)
def _scope() -> Iterator[None]:
    with reproducible(seed=0):
        yield


class Checkpointed(nn.Module):
    """A layer whose statistics are taken again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

    def forward(self, rows: Tensor) -> Any:
        return checkpoint(self.layers, rows, use_reentrant=self.reentrant)


class Counting(nn.Module):
    """One that leaves in buffers what its batches were."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.largest: Tensor
        self.register_buffer("largest", torch.zeros(1, dtype=torch.int64))
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, rows: Tensor) -> Tensor:
        self.mean = rows.mean(0)
        self.largest += int(rows.max())
        out: Tensor = self.layer(rows)
        return out


def again() -> nn.Module:
    return world_invariant(nn.Linear(2, 1))


def compiled() -> nn.Module:
    module = nn.Linear(2, 1)
    module.compile(backend="eager")
    return nn.Sequential(module)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: [nn.Linear(2, 1)], TypeError, "takes a module"),
        (again, DeterministicError, "is world-invariant already"),
        (lambda: nn.Sequential(nn.SyncBatchNorm(3)), DeterministicError, "found: 0: SyncBatchNorm"),
        (compiled, DeterministicError, "is compiled"),
        (lambda: torch.compile(nn.Linear(2, 1), backend="eager"), DeterministicError, "is compiled"),
        (lambda: nn.DataParallel(nn.Linear(2, 1)), DeterministicError, "DataParallel"),
        (lambda: nn.LazyLinear(2), DeterministicError, "not initialised"),
        (lambda: nn.Sequential(nn.Embedding(4, 2, max_norm=1.0)), DeterministicError, "found: 0: Embedding"),
        (lambda: nn.EmbeddingBag(4, 2, sparse=True), DeterministicError, "sparse gradients"),
        (lambda: nn.Linear(2, 1).half(), DeterministicError, "is trained in float16"),
    ],
    ids=[
        "list",
        "twice",
        "synchronised",
        "compiled in place",
        "compiled",
        "data parallel",
        "lazy",
        "renormalised",
        "sparse",
        "float16",
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_cannot_be_trained_so_is_refused_by_name(make: Callable[[], Any], error: Any, text: str) -> None:
    model = make()
    with pytest.raises(error, match=text):
        world_invariant(model)


@pytest.mark.parametrize(
    ("shards", "error", "text"),
    [(12, ValueError, "no power of two"), (0, ValueError, "below 1"), (2.0, TypeError, "not an integer")],
)
def test_a_rank_has_a_power_of_two_of_shards(shards: Any, error: Any, text: str) -> None:
    model = nn.Linear(2, 1)
    with pytest.raises(error, match=text):
        world_invariant(model, shards=shards)
    assert "forward" not in model.__dict__
    with pytest.raises(error, match=text):
        invariant(F.mse_loss, shards=shards)


def test_an_order_of_ranks_is_for_what_has_ranks() -> None:
    with pytest.raises(TypeError, match="DistributedDataParallel"):
        ordered_reduction(nn.Linear(1, 1))  # type: ignore[arg-type]


def test_names_state_and_evaluation_are_the_module_s_own() -> None:
    plain, rows = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)), torch.randn(6, 3)
    model = world_invariant(copy.deepcopy(plain), shards=2)
    assert [*model.state_dict()] == [*plain.state_dict()]
    model.eval(), plain.eval()
    with torch.no_grad():
        assert torch.equal(model(rows[:5]), plain(rows[:5]))  # no multiple of the shards
    assert torch.equal(model(rows), plain(rows))


def test_a_module_in_eval_mode_is_not_trained() -> None:
    model = world_invariant(nn.Linear(3, 1), shards=2).eval()
    with pytest.raises(DeterministicError, match="eval mode"):
        model(torch.ones(4, 3)).sum().backward()


def test_an_uneven_batch_is_refused_and_nothing_was_drawn() -> None:
    model = world_invariant(nn.Linear(3, 1), shards=4)
    before = torch.get_rng_state()
    with pytest.raises(DeterministicError, match="6 samples on 1 ranks"):
        model(torch.ones(6, 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_are_of_the_shard_and_leave_the_generators_one_number_further() -> None:
    with reproducible(seed=1):
        model = world_invariant(nn.Dropout(0.5), shards=2)
        drop = world_invariant(nn.Dropout(0.5), shards=4)
        state = torch.get_rng_state()
        two = model(torch.ones(8, 1000))
        after = torch.get_rng_state()
        torch.set_rng_state(state)
        four = drop(torch.ones(8, 1000))
        assert torch.equal(torch.get_rng_state(), after)
        assert not torch.equal(two[:4], two[4:])
        assert torch.equal(two[:2], four[:2])
        assert not torch.equal(model(torch.ones(8, 1000)), two)


def test_gradients_are_not_accumulated_over_backward_passes() -> None:
    model = world_invariant(nn.Linear(3, 1), shards=2)
    model(torch.ones(4, 3)).sum().backward()
    model.zero_grad(set_to_none=False)
    model(torch.ones(4, 3)).sum().backward()
    with pytest.raises(DeterministicError, match=r"found: weight\.grad is not zero"):
        model(torch.ones(4, 3)).sum().backward()


def test_a_gradient_is_the_tree_of_the_shards_gradients_also_of_two_calls() -> None:
    module, rows = nn.Linear(5, 3), torch.randn(8, 5)
    parts = []
    for part in rows.chunk(4):
        (own,) = torch.autograd.grad(module(part).square().sum() + module(-part).abs().sum(), [module.weight])
        parts.append(own)
    world_invariant(module, shards=4)
    (module(rows).square().sum() + module(-rows).abs().sum()).backward()
    assert module.weight.grad is not None
    assert torch.equal(module.weight.grad, (parts[0] + parts[1]) + (parts[2] + parts[3]))


class Watched(nn.Module):
    """One that notes when a gradient comes to its middle, and which goes back to the rows through a layer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.norm = nn.BatchNorm1d(3, affine=False)
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, rows: Tensor) -> Tensor:
        middle = self.first(checkpoint(self.norm, rows, use_reentrant=False))
        middle.register_hook(lambda _: self.events.append("middle"))
        return self.last(middle)  # type: ignore[no-any-return]


def test_a_gradient_is_added_up_and_sent_while_others_are_computed() -> None:
    model = world_invariant(Watched(), shards=2)
    model.last.weight.register_post_accumulate_grad_hook(lambda _: model.events.append("last"))
    rows = torch.randn(4, 3, requires_grad=True)
    out = model(rows)
    left = [one.clone() for one in model.buffers()]
    out.sum().backward()
    if hasattr(out.grad_fn, "_set_sequence_nr"):
        assert model.events == ["middle", "last", "middle"]
    # The norm was computed again after the last parameter had its gradient.
    assert all(map(torch.equal, left, model.buffers()))
    assert left[0].any()


def test_checkpointed_layers_take_their_statistics_once_and_the_reentrant_way_is_refused() -> None:
    model, rows = world_invariant(Checkpointed(False), shards=2), torch.randn(8, 3, requires_grad=True)
    model(rows).sum().backward()
    linear, norm = model.layers
    means = [linear(part).mean(0) for part in rows.chunk(2)]
    torch.testing.assert_close(norm.running_mean, 0.1 * (means[0] + means[1]) / 2)
    assert norm.num_batches_tracked == 1
    with pytest.raises(DeterministicError, match="use_reentrant=False"):
        world_invariant(Checkpointed(True), shards=2)(rows)


def test_buffers_that_are_put_in_place_of_others_are_averaged_and_counts_have_to_agree() -> None:
    model = world_invariant(Counting(), shards=2)
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [3.0, 4.0], [4.0, 2.0]])
    model(rows)
    assert torch.equal(model.mean, rows.mean(0))
    assert model.largest == 4
    with pytest.raises(DeterministicError, match="found: largest, int64"):
        model(rows * torch.arange(4)[:, None])
    assert model.largest == 4


def test_copies_and_pickles_train_by_themselves() -> None:
    model = world_invariant(nn.Linear(3, 1), shards=2)
    model(torch.ones(4, 3)).sum().backward()
    model.zero_grad()
    model(torch.ones(4, 3))  # which leaves views
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin(torch.ones(4, 3)).sum().backward()
        assert twin.weight.grad is not None
        assert model.weight.grad is None


def test_a_parameter_that_is_frozen_between_two_calls_has_no_gradient() -> None:
    model = world_invariant(nn.Linear(3, 1), shards=2)
    model(torch.ones(4, 3))
    model.weight.requires_grad_(False)
    model(torch.ones(4, 3)).sum().backward()
    assert model.weight.grad is None
    assert model.bias.grad is not None
    assert torch.equal(model.bias.grad, torch.full((1,), 4.0))


def test_a_parameter_that_no_shard_uses_has_no_gradient() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, rows: Tensor) -> Tensor:
            out: Tensor = self.used(rows)
            return out

    model = world_invariant(Partly(), shards=2)
    model(torch.ones(4, 2)).sum().backward()
    assert model.unused.weight.grad is None
    assert model.used.weight.grad is not None


def test_the_gradient_of_a_gradient_goes_through_the_shards() -> None:
    module, rows = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(4, 2, requires_grad=True)

    def penalty(model: nn.Module) -> list[Tensor]:
        (slope,) = torch.autograd.grad(model(rows).sum(), [rows], create_graph=True)
        return [*torch.autograd.grad(slope.square().sum(), [model[0].weight, model[2].weight])]  # type: ignore[index]

    expected = penalty(module)
    for one, other in zip(penalty(world_invariant(module, shards=2)), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_layers_and_weights_with_several_names_stay_parameters_and_are_trained_once() -> None:
    first, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = first.weight
    module, rows = nn.Sequential(first, nn.Tanh(), first, other), torch.randn(8, 3)
    parts = [torch.autograd.grad(module(part).square().sum(), [first.weight])[0] for part in rows.chunk(2)]
    weight = first.weight
    world_invariant(module, shards=2)(rows).square().sum().backward()
    assert first.weight is weight
    assert other.weight is weight
    assert weight.grad is not None
    assert torch.equal(weight.grad, parts[0] + parts[1])


def test_views_do_not_outlive_a_weight_s_values() -> None:
    module, rows = nn.Linear(5, 3), torch.randn(8, 5)
    world_invariant(module, shards=4)(rows)  # whose loss nobody wants
    with torch.no_grad():
        module.weight.clamp_(-0.2, 0.2)
    parts = []
    for part in rows.chunk(4):
        (own,) = torch.autograd.grad(F.linear(part, module.weight, module.bias).square().sum(), [module.weight])
        parts.append(own)
    module(rows).square().sum().backward()
    assert module.weight.grad is not None
    assert torch.equal(module.weight.grad, (parts[0] + parts[1]) + (parts[2] + parts[3]))


class Kept(nn.Module):
    """One that computes its weight once, for all shards."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.twice: Tensor | None = None

    def forward(self, rows: Tensor) -> Tensor:
        self.twice = 2 * self.weight if self.twice is None else self.twice
        return rows * self.twice


def penalised(model: nn.Module, rows: Tensor) -> Tensor:
    weights: Tensor = model.weight  # type: ignore[assignment]
    loss: Tensor = model(rows).mean() + weights.square().sum()
    return loss


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (Kept, lambda model, rows: model(rows).sum()),
        (lambda: prune.random_unstructured(nn.Linear(3, 1), "weight", 0.5), lambda model, rows: model(rows).sum()),
        (lambda: nn.Linear(3, 1), penalised),
    ],
    ids=["kept for the next shard", "a hook of the module itself", "a penalty beside it"],
)
def test_gradients_that_do_not_come_through_the_shards_are_refused(make: Any, loss: Any) -> None:
    model = world_invariant(make(), shards=2)
    with pytest.raises(DeterministicError, match="found: weight"):
        loss(model, torch.randn(4, 3)).backward()


def test_a_penalty_that_the_module_returns_and_one_that_is_added_afterwards_are_fine() -> None:
    class Penalised(nn.Linear):
        def forward(self, rows: Tensor) -> Any:
            return super().forward(rows), self.weight.square().sum()

    model = world_invariant(Penalised(3, 1), shards=2)
    out, penalty = model(torch.randn(4, 3))
    (out.mean() + penalty).backward()
    model.weight.square().sum().backward()


def test_without_gradients_a_module_in_train_mode_goes_shard_by_shard_too_and_moves_no_generator() -> None:
    linear, norm, rows = nn.Linear(3, 400), nn.BatchNorm1d(400), torch.randn(8, 3)
    normed = torch.cat([norm(linear(part)) for part in rows.chunk(2)])
    norm.reset_running_stats()
    model = world_invariant(nn.Sequential(linear, norm, nn.Dropout(0.5)), shards=2)
    before = torch.get_rng_state()
    with torch.no_grad():
        one, two = model(rows), model(rows)
        with pytest.raises(DeterministicError, match="7 samples on 1 ranks"):
            model(rows[:7])
    assert torch.equal(torch.get_rng_state(), before)
    kept = (one != 0) & (two != 0)
    assert kept.any()
    assert torch.equal(one[kept], 2 * normed[kept])
    assert not torch.equal(one != 0, two != 0)
    assert not torch.equal(one[:4] != 0, one[4:] != 0)
    assert norm.num_batches_tracked == 2
    three = model(rows)
    assert not torch.equal(three != 0, one != 0)
    three.sum().backward()


def test_a_layer_whose_gradient_does_not_scale_is_refused() -> None:
    with pytest.raises(DeterministicError, match=r"found: matrix_exp"):
        world_invariant(orthogonal(nn.Linear(4, 4), orthogonal_map="matrix_exp"), shards=2)(torch.randn(4, 4))
    world_invariant(orthogonal(nn.Linear(4, 4), orthogonal_map="cayley"), shards=2)(torch.randn(4, 4)).sum().backward()


def test_float16_is_refused_under_autocast_too() -> None:
    model = world_invariant(nn.Linear(3, 1), shards=2)
    with torch.autocast("cpu", torch.float16), pytest.raises(DeterministicError, match=r"autocast to torch\.float16"):
        model(torch.randn(4, 3))
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(4, 3))

"""`clip_grad_norm_` takes the norm that torch does, of rows that are added up in one order wherever they lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from deterministic.distributed import clip_grad_norm_
from deterministic.errors import DeterministicError


def parameters(*shapes: Sequence[int], scale: float = 1.0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    found = [nn.Parameter(torch.zeros(*shape)) if shape else nn.Parameter(torch.tensor(0.0)) for shape in shapes]
    for one in found:
        one.grad = torch.randn(one.shape, generator=generator) * scale
    return found


SHAPES = [(5, 7), (3,), (), (4, 2, 3), (0, 3), (3, 0), (6, 1)]


@pytest.mark.parametrize("norm_type", [1, 2.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6])
def test_the_norm_and_the_gradients_are_those_of_torch(norm_type: float, max_norm: float) -> None:
    own, others = parameters(*SHAPES), parameters(*SHAPES)
    expected = nn.utils.clip_grad_norm_([one for one in others if one.numel()], max_norm, norm_type)
    torch.testing.assert_close(clip_grad_norm_(iter(own), max_norm, norm_type), expected)
    for one, other in zip(own, others, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_rows_have_the_same_norm_in_one_parameter_and_in_several() -> None:
    differ = 0
    for rows in range(20, 40):
        (whole,) = parameters((rows, 37))
        parts = [nn.Parameter(part) for part in torch.zeros(rows, 37).split(1)]
        for part, gradient in zip(parts, whole.grad.split(1), strict=True):  # type: ignore[union-attr]
            part.grad = gradient.clone()
        every = [
            nn.utils.get_total_norm([one.grad for one in some if one.grad is not None]) for some in ([whole], parts)
        ]
        differ += every[0].item() != every[1].item()
        assert clip_grad_norm_(whole, 1.0).item() == clip_grad_norm_(parts, 1.0).item()
        assert torch.equal(whole.grad, torch.cat([part.grad for part in parts if part.grad is not None]))  # type: ignore[arg-type]
    assert differ  # as torch adds them up


def test_a_large_row_and_many_rows_are_added_up_in_parts() -> None:
    (wide,) = parameters((2, 2**22 + 3))
    expected = wide.grad.double().norm()  # type: ignore[union-attr]
    assert clip_grad_norm_(wide, 1.0).item() == pytest.approx(expected.item())


def test_parameters_without_gradients_are_left_out() -> None:
    assert clip_grad_norm_([nn.Parameter(torch.ones(2))], 1.0).item() == 0
    assert clip_grad_norm_([], 1.0).item() == 0


def test_a_gradient_that_is_no_number_is_told_by_the_norm() -> None:
    (one,) = parameters((2, 2))
    one.grad[0, 0] = math.nan  # type: ignore[index]
    assert math.isnan(clip_grad_norm_(one, 1.0))


def test_other_norms_and_sparse_gradients_are_refused() -> None:
    (one,) = parameters((2, 2))
    before = one.grad.clone()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="norm_type: 3"):
        clip_grad_norm_(one, 1.0, 3)
    sparse = nn.Parameter(torch.zeros(2, 2))
    sparse.grad = torch.eye(2).to_sparse()
    with pytest.raises(DeterministicError, match=r"a gradient that is torch\.sparse_coo"):
        clip_grad_norm_([one, sparse], 1.0)
    assert torch.equal(one.grad, before)  # type: ignore[arg-type]

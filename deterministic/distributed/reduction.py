"""Gradients added up in one order: a binary tree over the ranks, wherever a number lies in its bucket.

gloo and NCCL add up in rings and trees whose order depends on the place of a number in its bucket and on the number of
ranks. Here each rank gets its part of every rank's bucket, adds them up in the order of the ranks, and all get all
parts, with as many bytes as a ring takes: by all-to-all and all-gather; between CPUs, where that is slow, by halves.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import DeterministicError, type_error

PIECE = 1 << 23
"""Bytes that CPUs add up at once, with memory for half of them, or for one or two where the ranks are no power of two.
"""

all_gather: Any = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
"""Its name since torch 2.13, which warns of the one that all versions have."""


def tree_sum(parts: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the sum over the first dimension, added up pair by pair: (0 + 1) + (2 + 3), ...; an odd one waits."""
    while (count := len(parts)) > 2:
        pairs = parts[: count - count % 2]
        added = pairs[0::2] + pairs[1::2]
        parts = added if count % 2 == 0 else torch.cat([added, parts[-1:]])
    if count == 1:
        return parts[0] if out is None else out.copy_(parts[0])
    return torch.add(parts[0], parts[1], out=out)


def ordered_reduction(model: nn.parallel.DistributedDataParallel) -> nn.parallel.DistributedDataParallel:
    """Let a model's gradients be averaged over the ranks in one order, and return the model.

    What a step adds up is then the same after a resume, when DistributedDataParallel has other buckets for a step, and
    with any `bucket_cap_mb`. It is a communication hook, of which a model can have one. On another number of ranks it
    is another sum: see `world_invariant`. Every rank calls it; it touches no other state.

    Args:
        model: A DistributedDataParallel whose process group has all ranks, without a hook of its own.

    Returns:
        The same model.

    Raises:
        TypeError: It is none.
        DeterministicError: It has a communication hook, or its group has not all ranks.
    """
    if not isinstance(model, nn.parallel.DistributedDataParallel):
        raise type_error(
            "ordered_reduction takes a DistributedDataParallel",
            (f"found: {type(model).__qualname__}",),
            "Wrap the module first: ordered_reduction(DistributedDataParallel(module)).",
        )
    require_plain(model)
    register(model)
    return model


def require_plain(model: Any) -> None:
    """Raise what speaks against giving a DistributedDataParallel the hook."""
    if model.process_group.size() != dist.get_world_size():
        raise DeterministicError(
            "the model's process group has not all ranks",
            (f"found: a group of {model.process_group.size()} ranks of {dist.get_world_size()}",),
            "Make DistributedDataParallel without process_group=.",
        )
    if hooks := hooks_of(model):
        raise DeterministicError(
            "the model has a communication hook already",
            (f"found: {', '.join(str(getattr(hook, '__qualname__', hook)) for hook, _ in hooks)}",),
            "Pass a model on which neither register_comm_hook was called nor ordered_reduction.",
        )


def register(model: Any) -> None:
    """Give a DistributedDataParallel the hook."""
    device = next(parameter.device for parameter in model.parameters() if parameter.requires_grad)
    model.register_comm_hook(_InTurn() if device.type == "cpu" else model.process_group, _reduce)


def hooks_of(model: Any) -> list[Any]:
    """Return the communication hooks of a DistributedDataParallel, each with its state."""
    return list(getattr(model, "_comm_hooks", ()))


def is_ordered(model: Any) -> bool:
    """Return whether a model's gradients are added up in the order of the ranks."""
    return any(hook is _reduce for hook, _ in hooks_of(model))


def _reduce(state, bucket):  # type: ignore[no-untyped-def] # torch refuses annotations as text
    """Average a bucket over the ranks."""
    buffer = bucket.buffer()
    if isinstance(state, _InTurn):
        return state.average(buffer)
    # On an accelerator both collectives are queued at once, and what follows a future runs on its stream, in order.
    received, padded = _exchanged(buffer, state.size())
    work = dist.all_to_all_single(received, padded, group=state, async_op=True)
    return work.get_future().then(lambda _: _gathered(buffer, received, state))


def _exchanged(buffer: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return where a rank's parts of all buckets will be, and its bucket in as many equal parts."""
    missing = -buffer.numel() % count
    padded = buffer if missing == 0 else torch.cat([buffer, buffer.new_zeros(missing)])
    return torch.empty_like(padded), padded


def _gathered(buffer: Tensor, received: Tensor, group: Any) -> Tensor:
    """Add a rank's parts up, and put those of all ranks into the bucket."""
    count = group.size()
    mean = tree_sum(received.view(count, -1)).div(count)
    all_gather(received, mean, group=group)
    return buffer.copy_(received[: buffer.numel()])


class _InTurn:
    """One bucket after the other on a thread of its own: gloo's threads must not wait for each other."""

    def __init__(self) -> None:
        self._group: Any = dist.new_group(backend="gloo")  # the thread's own: the model uses its group meanwhile
        self._buckets: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="deterministic-reduction", daemon=True).start()

    def __reduce__(self) -> Any:
        raise DeterministicError(
            "a DistributedDataParallel that adds up in order cannot be copied: the copy would not",
            ("found: a copy, or a pickle, of the whole wrapper",),
            "Copy the module inside of it: copy.deepcopy(model.module), AveragedModel(model.module).",
        )

    def average(self, buffer: Tensor) -> torch.futures.Future[Tensor]:
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        self._buckets.put((buffer, future))
        return future

    def _run(self) -> None:
        while True:
            buffer, future = self._buckets.get()
            try:
                average(buffer, self._group)
                future.set_result(buffer)
            except BaseException as error:  # noqa: BLE001 - it belongs to the backward pass that waits
                future.set_exception(error)
            del buffer, future  # after its first step a model has other buckets, and these would be held beside them


def average(buffer: Tensor, group: Any) -> None:
    """Average a vector over ranks, in place and in the order of `tree_sum`.

    It goes piece by piece: in its first step a DistributedDataParallel has one bucket with all that it has.
    """
    count = group.size()
    for piece in buffer.split(PIECE // buffer.element_size()):
        if count & (count - 1) == 0:
            average_by_halves(piece, group)
        else:
            received, padded = _exchanged(piece, count)
            dist.all_to_all_single(received, padded, group=group)
            _gathered(piece, received, group)


def average_by_halves(buffer: Tensor, group: Any) -> None:
    """Average a vector over ranks that are a power of two, in place and in the order of `tree_sum`.

    Recursive halving and doubling (Thakur, Rabenseifner and Gropp, 2005): in each round a rank gives the half of its
    part to a partner and adds what it gets for the other half; then the sums go back the same way. As many bytes as a
    ring's, in fewer messages, and half a bucket of memory.
    """
    rank, count = group.rank(), group.size()
    rounds: list[tuple[int, Tensor, Tensor]] = []
    part, distance = buffer, 1
    while distance < count:
        lower, upper = part[: len(part) // 2], part[len(part) // 2 :]
        kept, given = (upper, lower) if rank & distance else (lower, upper)
        got = torch.empty_like(kept)
        _swap(given, got, rank ^ distance, group)
        kept.add_(got)
        rounds.append((rank ^ distance, kept, given))
        part, distance = kept, 2 * distance
    part.div_(count)
    for partner, kept, given in reversed(rounds):
        _swap(kept, given, partner, group)


def _swap(sent: Tensor, received: Tensor, partner: int, group: Any) -> None:
    """Send a vector to a rank and get another one from it; of no elements there is nothing to send."""
    sending = dist.isend(sent, partner, group=group) if len(sent) else None
    if len(received):
        dist.recv(received, partner, group=group)
    if sending is not None:
        sending.wait()

"""What the ranks have to agree on before anything moves: all of them go on, or all of them raise the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import DeterministicError
from ..ground.ranks import the_ranks
from .reduction import tree_sum


class Agreement:
    """The ranks of a process group, and how they tell each other numbers without waiting for an accelerator.

    Every rank makes it, and calls its methods, at the same places.
    """

    def __init__(self) -> None:
        self.rank, self.count = the_ranks()
        self._made: Any = None

    def __reduce__(self) -> Any:
        return Agreement, ()  # copies and pickles of a module have a group of their own, once they are trained

    @property
    def _group(self) -> Any:
        if self._made is None and self.count > 1:
            self._made = dist.new_group(backend="gloo")
        return self._made

    def numbers(self, *own: int) -> Callable[[], list[list[int]]]:
        """Tell the other ranks numbers, of 64 bits with a sign; return what waits for those of each rank."""
        if self._group is None:
            return lambda: [list(own)]
        told = torch.tensor(own, dtype=torch.int64, device="cpu")
        everyones, work = self._begin_to_tell(told, self._group)

        def wait() -> list[list[int]]:
            work.wait()
            found: list[list[int]] = everyones.tolist()
            return found

        return wait

    def tree_sum(self, own: Tensor) -> Tensor:
        """Return the sum of the ranks' vectors, added up in their order."""
        if self.count == 1:
            return own
        everyones, work = self._begin_to_tell(own, self._group if own.device.type == "cpu" else None)
        work.wait()
        return tree_sum(everyones)

    def _begin_to_tell(self, own: Tensor, group: Any) -> tuple[Tensor, Any]:
        """Return where each rank's vector will be, and what waits for that."""
        everyones = own.new_empty(self.count, own.numel())
        # By one message to each: gloo's all-gather goes round, and each rank in turn waits for the one before it.
        work = dist.all_to_all_single(everyones, own.repeat(self.count, 1), group=group, async_op=True)
        return everyones, work

    def objects(self, own: Any) -> list[Any]:
        """Return what each rank has given."""
        if self._group is None:
            return [own]
        everyones: list[Any] = [None] * self.count
        dist.all_gather_object(everyones, own, group=self._group)
        return everyones

    def require(self, error: Exception | None, **own: Any) -> None:
        """Raise on all ranks if one has an error, or if they have not the same of what is named.

        Raises:
            DeterministicError: They have not; or one has an error, and this one has another or none.
        """
        everyones = self.objects((None if error is None else (type(error).__name__, str(error)), own))
        texts = [text for text, _ in everyones]
        if any(texts):
            if error is not None and all(text == texts[0] for text in texts):
                raise error
            raise DeterministicError(
                "some ranks cannot go on, and all have to go on together",
                tuple(f"rank {rank}: {': '.join(text)}" for rank, text in enumerate(texts) if text),
                "Mend it there; nothing was changed on any rank.",
            )
        for name, value in own.items():
            values = [one.get(name) for _, one in everyones]
            if any(one != value for one in values):
                raise DeterministicError(
                    f"the ranks do not agree on {name.replace('_', ' ')}",
                    tuple(f"rank {rank}: {one}" for rank, one in enumerate(values)),
                    _REMEDIES.get(name, "Let every rank run the same program."),
                )


_REMEDIES = {
    "what_buffers_count": "Let the module change them alike for every batch, or keep floating numbers: of these it is "
    "the mean.",
    "the_draws": "Seed all ranks alike: reproducible(seed=...) without per_rank, or one torch.manual_seed(...).",
    "the_samples": "Let every rank have as many samples: make_loader(..., global_batch_size=, drop_last=True).",
}

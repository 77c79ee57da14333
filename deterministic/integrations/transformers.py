"""`hf_kwargs` and `TrainerLoader`: a Transformers Trainer follows the scope's seed, and resumes within an epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ..data.keyed_loader import ReproducibleDataLoader
from ..data.orders.base import Position, Progress
from ..errors import DeterministicError
from ..ground.launch import given_seed, launched
from ..ground.seeds import derive_seed
from ..scope import stack
from ..scope.run import current_run

_SEED_LIMIT = 2**32  # Trainer gives its seed to `numpy.random.seed`, which takes no larger one


def hf_kwargs(*, full_determinism: bool = False) -> dict[str, Any]:
    """Return what lets a `Trainer` follow the scope: `TrainingArguments(folder, **hf_kwargs())`.

    Trainer seeds every generator again when it is made, and once more with `model_init=`, from `TrainingArguments.seed`
    alone, which is 42 unless it is given: without this another seed of the scope changes the model and not the order of
    the data. Reads the innermost open scope, without one what `seed_everything` or `deterministic run` was given, and
    touches nothing. Neither imports nor needs transformers.

    Args:
        full_determinism: Trainer's own. Inside of a scope the flags that it sets are the level's business, so it is
            False. True lets Trainer also set its five environment variables, of which `FLASH_ATTENTION_DETERMINISTIC`
            is needed for flash attention, and `CUDA_LAUNCH_BLOCKING` makes a GPU wait for each kernel; and switch
            deterministic algorithms on whatever the level is, also where "warn" lets pass what has none.

    Returns:
        `seed`, `data_seed` (with `per_rank`, that of all ranks) and `full_determinism`. A seed of 2**32 or more is
        derived into the range that numpy takes. Without a seed (`seed=None`, or a configuration that asks for nothing)
        there are no seeds, and Trainer takes its own.

    Raises:
        DeterministicError: No scope is open, and there was neither `seed_everything` nor `deterministic run`.

    Example:
        >>> from deterministic import reproducible
        >>> with reproducible(seed=7):
        ...     hf_kwargs()
        {'full_determinism': False, 'seed': 7, 'data_seed': 7}
    """
    entry, given = stack.innermost(), given_seed()
    seeds: dict[str, int | None] = {}
    if entry is not None:
        seeds = {"seed": entry.config.seed, "data_seed": entry.config.common_seed}
    elif not stack.disabled:
        if given is None and launched() is None:
            current_run()  # says that no scope is open
        seeds = {"seed": given, "data_seed": given}
    in_range = {
        name: seed if seed < _SEED_LIMIT else derive_seed(seed, "transformers") % _SEED_LIMIT
        for name, seed in seeds.items()
        if seed is not None
    }
    return {"full_determinism": full_determinism, **in_range}


class TrainerLoader(DataLoader[Any]):
    """A loader of `make_loader` in the form in which Transformers' `Trainer` can begin within an epoch.

    Return it from `Trainer.get_train_dataloader`. On a resume, Trainer builds the loader again around a batch sampler
    that leaves out what is behind (`skip_first_batches` of Accelerate). That would leave the keys of the samples
    behind, so a loader of `make_loader` alone is refused there. Here, what Trainer builds again is a row of batch
    numbers: the loader inside stays as it is, and begins with the first batch that it is asked for. Trainer itself
    restores the generators of Python, numpy and torch after that batch, and since fetching does not move them, that
    is exact. No batch is loaded again, unless the loader has a sampler of the user's.

    Args:
        loader: Made by `make_loader`, with a dataset that has indices.

    Raises:
        DeterministicError: It is another loader, or over an IterableDataset.
    """

    def __init__(self, loader: Any) -> None:
        if not isinstance(loader, ReproducibleDataLoader) or loader.is_stream:
            stream = " over an IterableDataset" if isinstance(loader, ReproducibleDataLoader) else ""
            raise DeterministicError(
                "with this loader Trainer cannot resume exactly within an epoch",
                (f"found: a {type(loader).__name__}{stream}",),
                "Pass what make_loader(...) returned, over a dataset that has indices.",
            )
        # Else each iteration draws from the global one; nothing comes of what is drawn here.
        own = torch.Generator()  # deterministic: ignore[DET103]
        super().__init__(_Batches(loader), batch_sampler=_BatchNumbers(loader), collate_fn=itemgetter(0), generator=own)
        # So that `accelerator.prepare` leaves it as it is: it would share the batches of each rank out between the
        # ranks again, and a part of the data would be in none of them.
        self._is_accelerate_prepared = True

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of an epoch; Trainer calls it before each.

        Args:
            epoch: 0 or more.
        """
        self.dataset.loader.set_epoch(epoch)  # type: ignore[attr-defined]


class _Batches(Dataset[Any]):
    """The batches of the epoch that is under way, asked for one after the other from anywhere on."""

    def __init__(self, loader: ReproducibleDataLoader[Any]) -> None:
        self.loader = loader
        self._iterator: Iterator[Any] | None = None
        self._next = 0
        self._has_begun = False

    def __len__(self) -> int:
        """Return the number of samples: Trainer says it in its log."""
        return len(self.loader.dataset)  # type: ignore[arg-type]

    def __getitem__(self, number: int) -> Any:
        if self._iterator is None or number == 0 or number != self._next:
            self._iterator = self._begin(number)
        self._next = number + 1
        batch = next(self._iterator)
        if self._next == len(self.loader):
            self._iterator = None  # its workers end
        return batch

    def _begin(self, number: int) -> Iterator[Any]:
        self._iterator = None
        if not self._has_begun and not self.loader._order.is_own:
            self._go_through_earlier_epochs()
        self._has_begun = True
        if number and self.loader._order.is_own:
            state = self.loader.state_dict()
            # Counted in samples of all ranks together.
            self.loader.load_state_dict({**state, "epoch": self.loader.epoch, "done": number * state["batch"]})
            number = 0
        iterator: Iterator[Any] = iter(self.loader)
        for _ in range(number):
            next(iterator)
        return iterator

    def _go_through_earlier_epochs(self) -> None:
        """Let a sampler give the indices again that it gave before a resume: Trainer saves nothing that it remembers.

        As many as were asked for: the end of an epoch is not.
        """
        order, count = self.loader._order.with_indices(), len(self.loader)
        for epoch in range(self.loader.epoch):
            progress = Progress(Position(epoch))
            deque(islice(order.fetches(progress), count), maxlen=0)
            progress.yielded = count
            order.leave(progress)


class _BatchNumbers:
    """The batch sampler that Trainer sees: one number for each batch."""

    def __init__(self, loader: ReproducibleDataLoader[Any]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[number] for number in range(len(self._loader))])

    def set_epoch(self, epoch: int) -> None:
        """Trainer calls it where it has built the loader again."""
        self._loader.set_epoch(epoch)

"""The loops over loaders in which a training is: where it can be gone on with, and whether it is."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from ..data.keyed_loader import ReproducibleDataLoader, WatchedLoader
from ..data.orders.base import Progress
from ..data.orders.state import LoaderRecord
from ..scope.run import Run
from .directory import refusal


def is_loader(value: object) -> bool:
    """Return whether a training's epochs go over it: torch's, torchdata's, or what is iterable and has `num_workers`.

    Iterable alone says nothing: so are a replay buffer, a history, a sampler, a stream. One that is not recognized is
    saved at the end of an epoch, which is exact, too.
    """
    if isinstance(value, (Dataset, Sampler)):  # some datasets have `num_workers`
        return False
    nodes: tuple[type, ...] = getattr(sys.modules.get("torchdata.nodes"), "Loader", ())
    return isinstance(value, (DataLoader, nodes)) or (hasattr(value, "__iter__") and hasattr(value, "num_workers"))


class Loops:
    """Watches a training's loaders that `make_loader` made, and tells the name of each before it fetches or ends."""

    def __init__(self, objects: Mapping[str, Any], tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._stepped: set[Progress] = set()  # the loops of this epoch in which there were steps
        self._fetched: Counter[str] = Counter()  # how often each loader was asked since the last step
        self._resumed: dict[str, Progress | None] = {}  # the loops that go on, until there was a step
        self._loaders = {
            name: WatchedLoader(loader, partial(self._about_to_fetch, name))
            for name, loader in objects.items()
            if isinstance(loader, ReproducibleDataLoader)
        }

    @property
    def names(self) -> set[str]:
        """The loaders that are watched."""
        return {*self._loaders}

    def under_way(self) -> dict[str, Progress]:
        """Return the loops that somebody is in the middle of, by the loader's name."""
        return {name: at for name, loader in self._loaders.items() if (at := loader.under_way) is not None}

    def beside(self, run: Run | None) -> dict[LoaderRecord, int]:
        """Return the loaders of a run that are not watched and in the middle of an epoch, with their batches so far."""
        watched = {loader.record for loader in self._loaders.values()}
        others = [one for one in (run.loaders if run else ()) if isinstance(one, LoaderRecord) and one not in watched]
        return {one: one.under_way for one in others if one.under_way}

    def can_go_on(self, loops: Mapping[str, Progress]) -> bool:
        """Return whether a training that ends here can be gone on with: after a step, in the only loop with steps."""
        return bool(loops) and not self._fetched and self._stepped <= {*loops.values()}

    @property
    def had_no_step(self) -> bool:
        """Whether a loader has given batches since the last step, and was asked for more."""
        return any(count > 1 for count in self._fetched.values())

    def begin_epoch(self) -> None:
        self._stepped.clear()

    def step(self, *, is_in_epoch: bool) -> None:
        """Note a step of the training, or outside of an epoch the end of one."""
        if is_in_epoch:
            self._stepped.update(self.under_way().values())
        self._fetched.clear()
        self._resumed.clear()

    def go_on(self, names: Iterable[str]) -> None:
        """Note that the loops over these loaders go on where they were interrupted."""
        self._resumed = dict.fromkeys(names)

    def require_none_begun(self) -> None:
        """Raise CheckpointError if there is an iterator: what is loaded would not move it."""
        if held := [name for name, loader in self._loaders.items() if loader.is_held]:
            raise refusal(
                "a loop that has begun cannot go on where another one was interrupted",
                f"iter() was called on {', '.join(held)} before the Checkpoint was made",
                "Make the Checkpoint first, and then the iterators.",
            )

    def leave(self) -> None:
        """Give up what a `break` has left: a resumed training would go on with it, as this one does not."""
        for loader in self._loaders.values():
            loader.leave_epoch()

    def close(self) -> None:
        for loader in self._loaders.values():
            loader.close()

    def _about_to_fetch(self, name: str) -> None:
        self._fetched[name] += 1
        self._tell(name)
        if name not in self._resumed:
            return
        before, now = self._resumed[name], self._loaders[name].under_way
        if before is not None and before is not now and not before.ended:
            raise refusal(
                f"{name} was asked for batches before the loop that was to go on with its epoch",
                "a second loop over it, and no step() since the training was resumed",
                f"Look at a batch with {name}.peek(), which moves nothing.",
            )
        self._resumed[name] = now

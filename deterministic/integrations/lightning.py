"""`ExactResume`: a Lightning training that was killed within an epoch goes on with the same bits."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from operator import length_hint
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parallel import DistributedDataParallel

from ..checkpoint.conditions import generator_states, innermost_run, put_back, require_same_place
from ..data.keyed_loader import ReproducibleDataLoader, WatchedLoader
from ..errors import DeterministicError, ResumeMismatchError, explain
from ..ground.ranks import gather, the_ranks

if TYPE_CHECKING:
    from pytorch_lightning import Callback, LightningModule, Trainer
    from pytorch_lightning.utilities import CombinedLoader


def _framework() -> Any:
    """Import Lightning under the name under which it is installed; under both, the one that is in use."""
    names = sorted(("pytorch_lightning", "lightning.pytorch"), key=lambda name: name not in sys.modules)
    for name in names:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, name.split(".")[0]):
                raise
    raise ImportError(
        explain(
            "ExactResume is a callback of Lightning, which is not installed",
            (f"found: neither of {names}",),
            "Run: pip install 'deterministic[lightning]'",
        )
    )


if not TYPE_CHECKING:
    _lightning = _framework()
    Callback, CombinedLoader = _lightning.Callback, _lightning.utilities.CombinedLoader

_KEY, _LOADERS = "deterministic", "combined_loader"
_VERSION = 3  # 1 had no places of loaders, 2 of the training's those of rank 0 alone


class ExactResume(Callback):
    """Makes `trainer.fit(..., ckpt_path=...)` go on with the bits of the training that was not interrupted.

    Lightning itself restores parameters, persistent buffers, optimizers, schedulers, its own progress, and the place
    of a loader that has `state_dict()`, as one of `make_loader` has. This callback adds to the same file what is
    missing: the state of every generator (those of the run, inside of `reproducible(...)`), buffers that are not
    persistent, and the gradients of an accumulation that was not finished. The generators are put back when the first
    batch is fetched, so that what is drawn before does not shift them. Batches are counted by the loader, so one that
    cannot say its place is refused, and so is a validation loader that draws from the global generators.

    Raises:
        DeterministicError: At the start of the training: a loader is not one of `make_loader`, has no length (Lightning
            fetches one batch ahead then, and saves a place too far), has a sampler or a stream and is made again in
            every n-th epoch, or there are several for the training.
        ResumeMismatchError: When a checkpoint is loaded: it was saved without this callback, by another number of
            ranks, inside of `reproducible()` and is loaded outside, or the reverse; where a training ended within an
            epoch; after an epoch, and there is a `max_steps`; or right before a validation, which Lightning leaves out
            then, and the batches of the later ones depend on that: those of a sampler or a stream.
    """

    def __init__(self) -> None:
        self._pending: Mapping[str, Any] | None = None
        self._validation: list[Any] = []  # where its loaders begin, until there is one
        self._watched: list[WatchedLoader] = []

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add to Lightning's checkpoint what is not in it; Lightning calls it on every rank."""
        # Zeroed by Lightning where an accumulation begins, so they count only within one.
        batches = trainer.fit_loop.batch_idx + 1
        is_within = bool(batches % trainer.accumulate_grad_batches) and not trainer.is_last_batch
        persistent = () if is_within else pl_module.state_dict()
        progress: Any = trainer.fit_loop.epoch_progress.current
        is_after_epoch = progress.processed == progress.ready > 0
        saved = {
            "generators": generator_states(innermost_run()) if self._pending is None else self._pending["generators"],
            "is_within_accumulation": is_within,
            "gradients": _gradients(pl_module) if is_within or not pl_module.automatic_optimization else {},
            "buffers": {name: item.cpu() for name, item in pl_module.named_buffers() if name not in persistent},
            # Lightning itself brings a training's loader back where it was within an epoch: each to where rank 0's was.
            "loaders": _state_of_fit(checkpoint).get(_LOADERS, []),
            "training": _beginnings(trainer.train_dataloader) if trainer.is_last_batch else [],
            "is_after_epoch": is_after_epoch,
            "is_cut": is_after_epoch and not trainer.is_last_batch,
            "validation": self._validation or _beginnings(trainer.val_dataloaders),
            "is_validation_due": _is_validation_due(trainer),
        }
        checkpoint[_KEY] = {"version": _VERSION, "ranks": gather(saved)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take out of Lightning's checkpoint what the training needs; nothing is put back yet.

        Raises:
            ResumeMismatchError: It does not fit: see the class.
        """
        if trainer.state.fn != "fit":
            return
        saved = checkpoint.get(_KEY, {})
        needed = {"version": _VERSION, "ranks": the_ranks().world_size}
        actual = {"version": saved.get("version"), "ranks": len(saved.get("ranks", ()))}
        if actual != needed:
            raise ResumeMismatchError(
                "this checkpoint does not say how this training goes on exactly",
                (f"found: {actual if saved else 'one that was saved without ExactResume'}", f"expected: {needed}"),
                "Resume with as many ranks as saved it; or leave the callback out, and resuming is not exact.",
            )
        mine = saved["ranks"][the_ranks().rank]
        require_same_place(mine["generators"], innermost_run())
        if mine["is_validation_due"] and any(mine["validation"]):
            raise ResumeMismatchError(
                "this checkpoint was saved just before a validation, which Lightning leaves out when it resumes",
                tuple(f"found: a {place['order']} for validation" for place in mine["validation"] if place),
                "Resume from the checkpoint before it or after it, or leave the sampler of the validation out.",
            )
        if mine["is_cut"]:
            raise ResumeMismatchError(
                "this checkpoint was saved where a training ended within an epoch, and Lightning leaves the rest out",
                ("found: the end of max_steps, or of a training that stopped early",),
                "Resume from a checkpoint of ModelCheckpoint(every_n_train_steps=...), or from an earlier one.",
            )
        if mine["is_after_epoch"] and trainer.max_steps != -1:
            raise ResumeMismatchError(
                "this checkpoint was saved after an epoch, and with max_steps Lightning skips the next one (2.6.6)",
                (f"found: max_steps={trainer.max_steps}",),
                "Pass max_epochs alone, or resume from a checkpoint of ModelCheckpoint(every_n_train_steps=...).",
            )
        if mine["loaders"]:
            _state_of_fit(checkpoint)[_LOADERS] = mine["loaders"]
        self._pending, self._validation = mine, mine["validation"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the loaders, and put back all but the generators.

        Raises:
            DeterministicError: A loader is refused: see the class.
            ResumeMismatchError: A loader is not the one whose place was saved.
        """
        if self._pending is not None:
            trainer.fit_loop.setup_data()  # now, where Lightning is about to make the loader again
        loaders = _loaders(trainer.train_dataloader)
        _require_exact(loaders, trainer)
        _require_exact(_loaders(trainer.val_dataloaders), trainer, is_training=False)
        if self._pending is None:
            return
        _begin(loaders, self._pending["training"])
        if self._pending["is_within_accumulation"] and isinstance(trainer.model, DistributedDataParallel):
            # After a batch without synchronisation DDP does not hand out rank 0's buffers, but a new one would
            # (torch/nn/parallel/distributed.py, _post_forward): each rank goes on with its own.
            trainer.model.require_forward_param_sync = False
        for name, buffer in pl_module.named_buffers():
            if name in self._pending["buffers"]:
                buffer.copy_(self._pending["buffers"][name])
        for name, parameter in pl_module.named_parameters():
            if name in self._pending["gradients"]:
                parameter.grad = self._pending["gradients"][name].to(parameter.device)
        self._watch(loaders)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the loaders again, which Lightning may just have made anew."""
        if self._pending is not None:
            self._watch(_loaders(trainer.train_dataloader))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the loaders of a validation within the training.

        Raises:
            DeterministicError: A loader is refused: see the class.
        """
        if trainer.state.fn != "fit":
            return
        loaders = _loaders(trainer.val_dataloaders)
        _require_exact(loaders, trainer, is_training=False)
        if not trainer.sanity_checking:
            # Only now: on its way here, Lightning has begun passes that it does not use.
            places, self._validation = self._validation, []
            _begin(loaders, places)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the loaders alone again."""
        self._watch([])
        self._pending, self._validation = None, []

    def _watch(self, loaders: list[Any]) -> None:
        for watched in self._watched:
            watched.close()
        self._watched = [WatchedLoader(loader, self._put_generators_back) for loader in loaders]

    def _put_generators_back(self) -> None:
        # Not in on_train_batch_start: what on_after_batch_transfer draws for that batch comes before it.
        if self._pending is not None:
            pending, self._pending = self._pending, None
            put_back(pending["generators"], innermost_run())


def _state_of_fit(checkpoint: Mapping[str, Any]) -> Any:
    """Return where Lightning keeps, in its checkpoint, where the training's loaders are."""
    return checkpoint["loops"]["fit_loop"]["state_dict"]


def _loaders(loaders: Any) -> list[Any]:
    """Return the loaders of what Lightning was given: one, or a container of them."""
    return [] if loaders is None else list(CombinedLoader(loaders).flattened)


def _beginnings(loaders: Any) -> list[Any]:
    """Return where each loader begins its next epoch; None where Lightning says so itself, by its epoch.

    It tells the epoch to the loader's own order, and not to a sampler of the user's or a stream.
    """
    places = []
    for loader in _loaders(loaders):
        is_told = not isinstance(loader, ReproducibleDataLoader) or loader._order.is_own
        if not is_told and loader._epochs.unfinished is not None:
            loader.set_epoch(loader._epochs.next.epoch)  # Lightning has taken of this epoch what it wants
        places.append(None if is_told else loader.state_dict())
    return places


def _is_validation_due(trainer: Trainer) -> bool:
    """Return whether a validation comes right after this step: resumed here, Lightning leaves it out."""
    loop: Any = trainer.fit_loop.epoch_loop
    is_step = loop.batch_progress.current.completed < loop.batch_progress.current.processed
    return bool(is_step and loop._should_check_val_fx(trainer.fit_loop._data_fetcher))


def _begin(loaders: list[Any], places: list[Any]) -> None:
    if not any(places):
        return
    if len(places) != len(loaders):
        raise ResumeMismatchError(
            "the checkpoint was saved with another number of loaders",
            (f"saved: {len(places)}", f"here: {len(loaders)}"),
            "Pass the loaders that it was saved with.",
        )
    for loader, place in zip(loaders, places, strict=True):
        if place is not None:
            loader.load_state_dict(place)


def _require_exact(loaders: list[Any], trainer: Any, *, is_training: bool = True) -> None:
    use = "training" if is_training else "validation"
    others = [type(loader).__name__ for loader in loaders if not isinstance(loader, ReproducibleDataLoader)]
    inexact = [f"a {name} for {use}" for name in others]
    remedy = "Make every loader with make_loader."
    if is_training and len(loaders) > 1 and not inexact:
        inexact, remedy = [f"{len(loaders)} loaders for training"], "Put the data into one loader."
    if not inexact and any(length_hint(one, -1) < 0 for one in loaders):
        inexact, remedy = ["a loader without a length"], "Give the IterableDataset a __len__."
    if not inexact and trainer.reload_dataloaders_every_n_epochs and not all(one._order.is_own for one in loaders):
        names = [one._order.name for one in loaders if not one._order.is_own]
        inexact = [f"a {name} for {use}, with reload_dataloaders_every_n_epochs" for name in names]
        remedy = "Leave the sampler out, or let Lightning make the loader once."
    if inexact:
        raise DeterministicError(
            "with this loader ExactResume cannot be exact", (f"found: {', '.join(inexact)}",), remedy
        )


def _gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.detach().cpu() for name, p in module.named_parameters() if p.grad is not None}

"""The forward of a module whose batches are cut into shards: each goes through it alone, with draws of its own."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_flatten

from ..data.samples.isolation import Isolated
from ..data.samples.states import mix, seed_generators
from ..errors import DeterministicError
from ..values.fingerprint import fingerprint
from .agreement import Agreement
from .reduction import tree_sum
from .shards import Batch, SameForAll, merged, names_of


class ForwardPerShard:
    """Stands in for a module's forward: in train mode each shard of a batch goes through the module by itself.

    Shard s of a global batch draws from generators that are put where (a number, s) says; the number is drawn from
    torch's default generator, once a call, so that it is saved and resumed with that. A call without gradients takes a
    number that follows from the next one, and leaves the generator where it is. How the gradients of the shards
    come together, its kinds say.

    Args:
        module: Whose forward it is.
        forward: What one shard goes through.
        shards: Of a global batch; a power of two for each rank.
        shared: Names of arguments that are no batches.
        ranks: Those that share the global batch.
        named: What tells the names of positional arguments; None: `forward` does.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[..., Any],
        shards: int,
        shared: Collection[str] | None,
        ranks: Agreement,
        named: Callable[..., Any] | None = None,
    ) -> None:
        self.shards = shards
        self._module, self._forward, self._shared = module, forward, shared
        self._ranks, self._names = ranks, names_of(named or forward)
        self._same_for_all = SameForAll()
        self._looks = 0  # calls without gradients since the last one with
        self._settled: list[tuple[Tensor, Tensor]] = []
        self._written: list[str] | None = None  # the buffers that all ranks have agreed to write
        self._is_known = False  # whether the graph behind the outputs was looked at

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._module.training:
            return self._in_eval(args, kwargs) if torch.is_grad_enabled() else self._forward(*args, **kwargs)
        count = self.shards // self._ranks.count
        batch, number, require_alike = self._begin(count, args, kwargs)
        buffers = dict(self._module.named_buffers())
        devices = _devices(self._module)
        outputs: list[Any] = []
        changed: list[dict[str, Tensor]] = []

        def run(views: dict[str, Tensor]) -> None:
            shard = len(outputs)
            args, kwargs = batch.shard(shard, count)
            key = mix(number + mix(self._ranks.rank * count + shard))
            seed_generators(key)
            for device in devices:
                torch.get_device_module(device).default_generators[device.index or 0].manual_seed(key)
            own = {name: buffer.clone() for name, buffer in buffers.items()}
            tensors = {**views, **own}
            outputs.append(self._with(self._module, tensors, args, kwargs))
            changed.append({name: tensors[name] for name in _differing(buffers, tensors)})

        with Isolated(), _accelerators_kept(devices):
            if torch.is_grad_enabled():
                self._run_all(count, run)
            else:
                for _ in range(count):
                    run({})
        require_alike()
        self._settle(buffers, changed)
        return merged(self._joined(outputs, batch) if torch.is_grad_enabled() else outputs, batch.rows // count)

    def _in_eval(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a module that is in eval mode, so that no gradient comes to its parameters."""
        raise NotImplementedError

    def _run_all(self, count: int, run: Callable[[dict[str, Tensor]], None]) -> None:
        """Run each shard, with these tensors in place of the module's own."""
        raise NotImplementedError

    def _joined(self, outputs: list[Any], batch: Batch) -> list[Any]:
        """Return what the shards returned, as the caller's backward pass shall see it."""
        return outputs

    def _obstacle(self) -> DeterministicError | None:
        """Return why the module cannot be called now."""
        return None

    def _needs_all_ranks(self) -> bool:
        """Return whether a call without gradients does, too; else one rank may look at what its model returns."""
        return next(self._module.buffers(), None) is not None

    def _with(self, module: nn.Module, tensors: dict[str, Tensor], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call the module's own forward with other tensors in place of its own; what it puts there is put in."""
        if not tensors:
            return self._forward(*args, **kwargs)
        body = _OwnForward(module, self._forward)
        of = {id(own): tensors[name] for name, own in _own(module, recurse=True) if name in tensors}
        # One name of each place: torch leaves the other tensors in a module that it finds by two names.
        places = (
            (name, own) for prefix, part in module.named_modules(prefix="module") for name, own in _own(part, prefix)
        )
        named = {name: of[id(own)] for name, own in places if id(own) in of}
        try:
            return functional_call(body, named, args, kwargs, tie_weights=False)
        finally:
            tensors.update({name.removeprefix("module."): tensor for name, tensor in named.items()})

    def _begin(self, count: int, args: Any, kwargs: dict[str, Any]) -> tuple[Batch, int, Callable[[], None]]:
        """Return the batch, the number of which its draws come, and what raises unless all ranks have alike ones.

        The ranks tell each other while the shards are run, which moves nothing, or while something else is begun; not
        of a call in which a rank may be alone.
        """
        batch, error, rows = None, self._obstacle() or _half_precision(self._module), 0
        try:
            batch = Batch(self._names, self._shared, args, kwargs)
            rows = batch.rows
            if error is None and self._shared is None:
                error = self._same_for_all.problem(batch)
            if error is None and (rows % count or not rows):
                error = self._uneven(rows, count)
        except DeterministicError as refused:
            error = refused
        may_be_alone = not torch.is_grad_enabled() and not self._needs_all_ranks()
        if may_be_alone and error is not None:
            raise error
        state = torch.default_generator.get_state()
        number = int(torch.empty((), dtype=torch.int64, device="cpu").random_())
        self._looks = 0 if torch.is_grad_enabled() else self._looks + 1
        if self._looks:  # moves no generator: the others may make no such call
            torch.default_generator.set_state(state)
            number = mix(number + self._looks) >> 1
        if may_be_alone:
            return cast(Batch, batch), number, lambda: None
        text = zlib.crc32(str(error).encode()) if error else -1
        told = self._ranks.numbers(rows, number, text)
        undo = self._meanwhile()

        def require_alike() -> None:
            everyones = told()
            if error is not None or any(one != everyones[0] for one in everyones):
                if undo is not None:
                    undo()
                torch.default_generator.set_state(state)
                self._ranks.require(error, the_samples=rows, the_draws=number)

        if error is None and undo is None:
            return cast(Batch, batch), number, require_alike
        require_alike()
        return cast(Batch, batch), number, lambda: None

    def _meanwhile(self) -> Callable[[], None] | None:
        """Begin what all ranks do before the shards, and return what undoes it; None if there is nothing."""
        return None

    def _uneven(self, rows: int, count: int) -> DeterministicError:
        ranks = self._ranks.count
        return DeterministicError(
            "a batch cannot be cut into equal shards",
            (
                f"found: {rows * ranks} samples on {ranks} ranks, {rows} on each",
                f"expected: a multiple of {self.shards}",
            ),
            "Choose another batch size or shards=; drop an uneven last batch: make_loader(..., drop_last=True); "
            "evaluate after model.eval().",
        )

    def _put_back(self) -> None:
        """Undo what a backward pass has changed in buffers: checkpointed layers take a batch's statistics again."""
        with torch.no_grad():
            for buffer, value in self._settled:
                buffer.copy_(value)
        self._settled = []

    def _settle(self, buffers: dict[str, Tensor], changed: list[dict[str, Tensor]]) -> None:
        """Put into the buffers what the shards have left: of numbers the mean over all shards, added up as a tree."""
        if not buffers:
            return
        names = sorted({name for one in changed for name in one})
        error = _disagreement(names, buffers, changed)
        is_other = error is not None or names != self._written
        if self._written is None or (mean := self._mean(self._written, buffers, changed, is_other)) is None:
            self._ranks.require(error, buffers_that_change=names, what_buffers_count=_counted(changed[0]))
            self._written = names
            mean = self._mean(names, buffers, changed, False)
        with torch.no_grad():
            for name in names:
                buffers[name].copy_(changed[0][name] if mean is None or name not in mean else mean[name])
        self._settled = [(buffers[name], buffers[name].clone()) for name in names]

    def _mean(
        self, names: list[str], buffers: dict[str, Tensor], changed: list[dict[str, Tensor]], is_other: bool
    ) -> dict[str, Tensor] | None:
        """Return the mean of each floating buffer over all shards; None if some rank has written others."""
        floating = [name for name in names if buffers[name].is_floating_point()]
        device = next(iter(buffers.values())).device

        def vector(one: dict[str, Tensor]) -> Tensor:
            parts = [torch.empty(0, dtype=torch.float64, device=device)]
            for name in floating:
                is_as_before = name not in one or one[name].shape != buffers[name].shape
                parts.append((buffers if is_as_before else one)[name].double().flatten().to(device))
            return torch.cat(parts)

        own = [vector(one) for one in changed]
        with torch.no_grad():
            digest = zlib.crc32(str(_counted(changed[0])).encode()) >> 10  # so that squares are exact in float64
            tail = own[0].new_tensor([is_other, digest, digest * digest])
            total = self._ranks.tree_sum(torch.cat([tree_sum(torch.stack(own)), tail]))
            others, digests, squares = map(int, total[-3:].tolist())
            if others or digests**2 != squares * self._ranks.count:  # which they are if all are equal
                return None
            parts = (total[:-3] / self.shards).split([buffers[name].numel() for name in floating])
            return {name: part.view_as(buffers[name]) for name, part in zip(floating, parts, strict=True)}


_NOT_SCALING = {
    "MatrixExp": (
        "matrix_exp, as in torch.nn.utils.parametrizations.orthogonal",
        'Pass orthogonal_map="cayley", or "householder".',
    ),
    "Logcumsumexp": ("logcumsumexp", "Write (x - m).exp().cumsum(dim).log() + m, with m = x.amax(dim, keepdim=True)."),
}
"""Nodes of autograd whose backward is not linear, bit by bit, what is called, and what does as well.

All others of torch 2.13 are: of 5,929 samples of `common_methods_invocations.op_db` in float32 and bfloat16 only these
gave more than a subnormal number's difference for gradients of half, twice and a quarter the size (`Logcumsumexp` takes
logarithms of them); `MatrixExp` computes in steps that their size decides.
"""


def nodes_behind(outputs: Any, until: Collection[Any] = ()) -> Iterator[Any]:
    """Yield autograd's nodes between outputs and these, in one order, so that all ranks find the same.

    Raises:
        DeterministicError: One of them is of an operation whose gradient does not scale.
    """
    nodes = [one.grad_fn for one in tree_flatten(outputs)[0] if isinstance(one, Tensor) and one.grad_fn is not None]
    seen = {*nodes, *until}
    while nodes:
        node = nodes.pop()
        for name, (called, instead) in _NOT_SCALING.items():
            if name in node.name():
                raise DeterministicError(
                    "a gradient is not exactly twice as large for a loss that is, and the ranks scale it",
                    (f"found: {called}",),
                    instead,
                )
        yield node
        following = [one for one, _ in node.next_functions if one is not None and one not in seen]
        seen.update(following)
        nodes += following


def _counted(changed: dict[str, Tensor]) -> dict[str, str]:
    """Return the fingerprints of buffers of which there is no mean: all ranks need the same ones."""
    return {name: fingerprint(one) for name, one in sorted(changed.items()) if not one.is_floating_point()}


def _half_precision(module: nn.Module) -> DeterministicError | None:
    """Return the error where gradients have float16's few exponents: they are as large as a rank's batch is small."""
    kinds = {parameter.device.type for parameter in module.parameters()} - {"meta"}
    if any(torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16 for kind in kinds):
        return DeterministicError(
            "gradients in float16 get too large or too small on one number of ranks and not on another",
            ("found: autocast to torch.float16",),
            "Pass torch.bfloat16 to autocast.",
        )
    return None


def _disagreement(
    names: list[str], buffers: dict[str, Tensor], changed: list[dict[str, Tensor]]
) -> DeterministicError | None:
    """Return the error where shards leave a buffer in ways of which there is no mean."""
    for name in names:
        if any(
            name not in one
            or one[name].shape != buffers[name].shape
            or not (buffers[name].is_floating_point() or torch.equal(one[name], changed[0][name]))
            for one in changed
        ):
            return DeterministicError(
                "a buffer is changed otherwise by each shard",
                (f"found: {name}, {str(buffers[name].dtype).removeprefix('torch.')}",),
                "Let the module change it alike for every batch.",
            )
    return None


def _own(module: nn.Module, prefix: str = "", recurse: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Return a module's parameters and buffers; with those inside of it, only the first name of each."""
    yield from module.named_parameters(prefix, recurse, remove_duplicate=recurse)
    yield from module.named_buffers(prefix, recurse, remove_duplicate=recurse)


class _OwnForward(nn.Module):
    """A module under its own forward: called by name, its `forward` is the sharded one."""

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self._forward_of_module = forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._forward_of_module(*args, **kwargs)


class _Unsharded(torch.autograd.Function):
    """A parameter of a module in eval mode, through which no gradient may come."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor) -> Tensor:
        return parameter.view_as(parameter)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise DeterministicError(
            "a module in eval mode was trained, and its batches are not cut into shards then",
            ("found: model.training is False",),
            "Call model.train() for the whole, and eval() for the parts that are to stay as they are.",
        )


no_gradient: Callable[[Tensor], Tensor] = _Unsharded.apply


def _differing(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """Return the names of buffers with other values: batch norm counts no version of those that it changes."""
    differ = [
        (one != after[name]).any() if one.shape == after[name].shape else torch.tensor(True)
        for name, one in before.items()
    ]
    flags = torch.stack([flag.to(differ[0].device) for flag in differ]).tolist() if differ else []
    return [name for name, flag in zip(before, flags, strict=True) if flag]


def _devices(module: nn.Module) -> list[torch.device]:
    found = {parameter.device for parameter in module.parameters() if parameter.device.type not in ("cpu", "meta")}
    return sorted(found, key=str)


@contextmanager
def _accelerators_kept(devices: list[torch.device]) -> Iterator[None]:
    states = [torch.get_device_module(device).get_rng_state(device) for device in devices]
    try:
        yield
    finally:
        for device, state in zip(devices, states, strict=True):
            torch.get_device_module(device).set_rng_state(state, device)

"""The ranks of a distributed run, as far as they verify together. Importing it does not import torch."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

from ..ground import ranks
from ..ground.ranks import Ranks, current_ranks, process_group_exists
from ..trace.comparing.reasons import Reason
from .report import Report

_STORE_OF_TORCHRUN = "TORCHELASTIC_USE_AGENT_STORE"
"""True where torchrun itself has the store at MASTER_ADDR and MASTER_PORT that its ranks meet in."""

_LONGEST_RUN = timedelta(days=30)
"""How long a rank waits for another one; if that is dead, the launcher ends this one."""

_gathered = count()


def verifying_ranks() -> Ranks:
    """Return which of how many ranks this is that can tell each other what they do: of a process group, or torchrun's.

    Those of other launchers verify each for itself, as long as they have no process group.
    """
    is_torchruns = os.environ.get(_STORE_OF_TORCHRUN) == "True"
    return current_ranks() if is_torchruns or process_group_exists() else Ranks()


def gather(value: Any) -> list[Any]:
    """Return what each rank has given, JSON data; every rank must call it."""
    rank, size = verifying_ranks()
    if size == 1:
        return [value]
    if process_group_exists():
        return ranks.gather(value)
    store, number = _store(), next(_gathered)
    store.set(f"{number}/{rank}", json.dumps(value))
    return [json.loads(store.get(f"{number}/{other}")) for other in range(size)]


def finding(report: Report) -> list[Any]:
    """Return a report for the other ranks: its outcome, what sorts the earliest cause first, and a text."""
    verdict, divergence = report.verdict, report.divergence
    if verdict is None or divergence is None:
        return [report.outcome, [0, False], "; ".join([report.headline, *report.reasons[:1]])]
    is_at_the_end = divergence.step is None
    # Of those that differ at one step, one that was given something else by a collective is innocent.
    follows = verdict.cause is not None and verdict.cause.reason is Reason.COLLECTIVE
    told = [text for name, text in verdict.rows() if name in ("first difference", "line", "so")][:3]
    headline = report.headline.removeprefix("not reproducible: ")
    return [report.outcome, [is_at_the_end, divergence.segment, follows], "; ".join([headline, *told])]


def with_findings(report: Report, everyones: Sequence[Any]) -> Report:
    """Return a rank's report with the outcome of all of them, and where the first difference is if on another one."""
    rank, size = verifying_ranks()
    outcome = max((one[0] for one in everyones), key=["same", "could not tell", "different"].index)
    earliest = min((key, other) for other, (one, key, _) in enumerate(everyones) if one == outcome)[1]
    if outcome == "same" or earliest == rank or size == 1:
        return report
    notes = [everyones[earliest][2], *report.notes]
    if report.outcome == "same":
        notes.insert(0, "on this rank the runs are bit-exact")
    if report.outcome == outcome:
        return replace(report, notes=notes)
    if outcome == "different":
        return replace(report, outcome=outcome, reasons=[], notes=[*report.reasons, *notes], differs="")
    return replace(report, outcome=outcome, reasons=notes[:2], notes=report.notes)


def meeting() -> Mapping[str, str]:
    """Return the variables by which the ranks' processes of one repetition meet; every rank must call it.

    In a store that another repetition has used, or torchrun's, they would find what that has left, and fail.
    """
    if verifying_ranks().world_size == 1 or "MASTER_ADDR" not in os.environ:
        return {}
    with socket.socket() as free:
        free.bind(("", 0))
        return {"MASTER_PORT": str(gather(free.getsockname()[1])[0]), _STORE_OF_TORCHRUN: "False"}


@cache
def _store() -> Any:
    import torch.distributed

    distributed: Any = torch.distributed
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(address, port, is_master=False, timeout=_LONGEST_RUN)
    return distributed.PrefixStore("deterministic.verify", store)

"""What a scope did and could not do, as text, JSON and HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..ground.tables import ShownByFirstLine, aligned, html_table, wrapped
from ..sources.registry import versions
from .entry import ScopeEntry

_SET, _LISTED = "set (before -> inside)", ("loaders", "not controlled")
_PLAIN = {
    "reason": "What its samples draw depends on num_workers; and each epoch moves torch's generator, if it has none.",
    "remedy": "Make it with make_loader(dataset, ...), which takes the same arguments.",
}


@dataclass(frozen=True, repr=False)
class ScopeReport(ShownByFirstLine):
    """What one scope set, source by source, and what it could not control.

    Attributes:
        data: The report as JSON; `str()`, `to_json()` and a notebook show the same data.
    """

    data: dict[str, Any]

    @classmethod
    def of(cls, entry: ScopeEntry | None, loaders: Sequence[dict[str, Any]] = ()) -> ScopeReport:
        """Return the report of an entry and the loaders in it; None stands for a scope that is not enabled."""
        if entry is None:
            return cls({"enabled": False, "versions": versions()})
        sources = []
        limits, caught = [], []
        for (source, state), applied in zip(entry.before.items(), entry.applied, strict=True):
            before = source.describe(state)
            sources.append(
                {
                    "name": source.name,
                    "kind": source.kind,
                    "set": {name: {"before": before.get(name), "set": value} for name, value in applied.values.items()},
                }
            )
            limits += [limit._asdict() for limit in applied.limits]
            caught += [{**one._asdict(), "times": times} for one, times in [*applied.caught.items()]]
        limits += [{"subject": f"a plain DataLoader, iterated at {place}", **_PLAIN} for place in entry.plain_loaders]
        return cls(
            {
                "enabled": True,
                "seed": entry.config.seed,
                "deterministic": entry.config.deterministic,
                "num_threads": entry.config.num_threads,
                "entered_at": str(entry.site),
                "open": entry.is_open,
                "sources": sources,
                "loaders": _alike(loaders),
                "opt_outs": [*entry.opt_outs],
                "seeded": [note._asdict() for note in dict.fromkeys(entry.seeded)],
                "entropy": caught,
                "limits": limits,
                "versions": versions(),
            }
        )

    def to_json(self, **kwargs: Any) -> str:
        """Return the report as JSON text; keyword arguments go to `json.dumps`."""
        return json.dumps(self.data, **kwargs)

    def sentence(self) -> str:
        """Return one sentence for the methods section of a paper: seed, level, versions."""
        versions = self.data["versions"]
        where = (
            f"deterministic {versions['deterministic']}, PyTorch {versions['torch']}, NumPy {versions['numpy']} and "
            f"Python {versions['python']} on {versions['platform']} ({versions['device']})"
        )
        if not self.data["enabled"]:
            return f"Randomness was not controlled ({where})."
        seed = self.data["seed"]
        seeded = (
            "The random number generators of Python, NumPy and PyTorch were left unseeded"
            if seed is None
            else f"The random number generators of Python, NumPy and PyTorch were seeded with {seed}"
        )
        level = {
            False: "deterministic algorithms were not requested",
            "cudnn": "cuDNN was restricted to deterministic algorithms",
            True: "PyTorch was restricted to deterministic algorithms",
            "warn": "PyTorch used deterministic algorithms where it has them",
        }[self.data["deterministic"]]
        apart = self.data["opt_outs"] and self.data["deterministic"] in (True, "warn")
        but = f", but for {_blocks(self.data['opt_outs'])} in which others were allowed" if apart else ""
        return f"{seeded}, and {level}{but} ({where})."

    def __str__(self) -> str:
        if not self.data["enabled"]:
            return "reproducible: not enabled; nothing was seeded or set"
        lines = [self._head()]
        for name, rows in self._sections().items():
            lines += ["", name, *(_listed(rows) if name in _LISTED else aligned(rows))] if rows else []
            if name == _SET and (untouched := [one["name"] for one in self.data["sources"] if not one["set"]]):
                lines += ["", "saved and given back, but not set", *wrapped(", ".join(untouched), "  ")]
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        import html

        if not self.data["enabled"]:
            return f"<p>{html.escape(str(self))}</p>"
        name, _, rest = html.escape(self._head()).partition(":")
        sections = self._sections()
        versions = sections.pop("versions")
        tables = [
            f"<b>{html.escape(heading)}</b>{html_table([(first, '. '.join(more)) for first, *more in rows])}"
            for heading, rows in sections.items()
            if rows
        ]
        folded = f"<details><summary>versions</summary>{html_table(versions)}</details>"
        return f"<p><b>{name}</b>:{rest}</p>{''.join(tables)}{folded}"

    def _head(self) -> str:
        return "reproducible: seed {seed}, deterministic={deterministic!r}, entered at {entered_at}".format(**self.data)

    def _sections(self) -> dict[str, list[tuple[str, ...]]]:
        """Return the tables of the report, by their headings."""
        data = self.data
        return {
            _SET: self._rows(),
            "loaders": [(title(one), epochs(one["epochs"]), *one["notes"]) for one in data["loaders"]],
            "seeded by the code itself": [
                (note["generator"], f"seed {note['seed']}, at {note['place']}") for note in data["seeded"]
            ],
            "drawn from the operating system, or seeded by the clock": [*map(_drawn, data["entropy"])],
            "where nondeterministic operations were allowed": [(at,) for at in data["opt_outs"]],
            "not controlled": [(f"{one['subject']}: {one['reason']}", one["remedy"]) for one in data["limits"]],
            "versions": [(name, str(value)) for name, value in data["versions"].items()],
        }

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for source in self.data["sources"]:
            for name, value in source["set"].items():
                if source["kind"] == "rng":
                    rows.append((source["name"], f"{name} {_short(value['set'])}"))
                else:
                    before = "" if value["before"] is None else f"{_short(value['before'])} -> "
                    rows.append((f"{source['name']}.{name}", f"{before}{_short(value['set'])}"))
        return rows


def _alike(loaders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one entry for all loaders of a line that differ in nothing but their epochs, and how many they are."""
    entries: dict[str, dict[str, Any]] = {}
    for loader in loaders:
        entry = entries.setdefault(json.dumps({**loader, "epochs": 0}), {**loader, "loaders": 0, "epochs": []})
        entry["loaders"] += 1
        for group in loader["epochs"]:
            same = next((one for one in entry["epochs"] if {**one, "times": group["times"]} == group), None)
            if same is None:
                entry["epochs"].append({**group})
            else:
                same["times"] += group["times"]
    return [*entries.values()]


def title(loader: dict[str, Any]) -> str:
    """Return what a loader is, or what several alike are, in one line."""
    workers = f"num_workers={loader['num_workers']}"
    many = "" if loader["loaders"] == 1 else f"{loader['loaders']} loaders, "
    return f"{loader['made_at']}: {many}seed {loader['seed']}, {loader['randomness']!r}, {loader['order']}, {workers}"


def epochs(groups: list[dict[str, Any]]) -> str:
    """Return which epochs were started, and how far each came: `next(iter(loader))` starts one too."""
    parts = []
    for group in groups:
        one = group["first"] == group["last"]
        numbers = f"epoch {group['first']}" if one else f"epochs {group['first']}-{group['last']}"
        numbers += "" if group["times"] == 1 else f", {group['times']} times"
        batches = f"{group['batches']} batch{'' if group['batches'] == 1 else 'es'}{'' if one else ' each'}"
        parts.append(
            f"{numbers}: {batches}{', resumed' if group['resumed'] else ''}{'' if group['ended'] else ', not ended'}"
        )
    return "; ".join(parts) or "no epoch started"


def _listed(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of rows whose cells are sentences."""
    for first, *more in rows:
        yield f"  {first}"
        yield from (f"    {text}" for text in more)


def _drawn(one: dict[str, Any]) -> tuple[str, str]:
    notes = f", in {one['by']}" * bool(one["by"]) + ", from the run's seed" * one["seeded"]
    return one["place"], f"{one['what']}{notes}, {one['times']} times"


def _blocks(sites: Sequence[str]) -> str:
    return "one block of code" if len(sites) == 1 else f"{len(sites)} blocks of code"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    return str(value)

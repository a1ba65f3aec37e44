"""The page of a run, made anew when something has changed: the report, or what there is of it so far.

It shows what a report may show. Of a run that goes on: public values, and the generations whose noised histograms are
committed in the ledger. A run that nothing protects has its generations in its internal folder; none is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spti_ray.config.loading import parse_config
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import slots_of
from spti_ray.dp.ledger import Ledger
from spti_ray.observability.reading import read_reading
from spti_ray.release.report.build import contents_of, page_of
from spti_ray.release.report.data import read_run_at_work
from spti_ray.runs.run_file import read_run
from spti_ray.runs.status import Status, status_of

_REFRESH_S = 10
_REPORT = "report.html"

_STATES = {
    "running": "A run at work",
    "interrupted": "A run that was interrupted",
    "finished": "A finished run without its report",
}


class RunPage:
    """The page of the run in a folder."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError: the folder holds no run."""
        self._folder = folder
        known = read_run(folder)
        self._run, config = str(known["run"]), parse_config(known["config"])
        self._ledger = Ledger(config.ledger.location, config.dataset.id)
        self._made_of: tuple[int, ...] | None = None
        self._contents: Mapping[str, Any] = {}

    @property
    def release(self) -> Path | None:
        """The folder of the release, once it and its report are there."""
        release = self._folder / "release"
        return release if (release / _REPORT).is_file() else None

    def html(self) -> str:
        """The page as of now. Takes seconds where a generation has been voted on since the last call.

        Raises:
            RunDamaged, LedgerError: the run's files or its ledger can't be read.
        """
        if release := self.release:
            return (release / _REPORT).read_text(encoding="utf-8")
        entries = self._ledger.entries()
        committed = self.committed(entries)
        if committed != self._made_of:
            self._contents, self._made_of = contents_of(read_run_at_work(self._folder, committed)), committed
        status = status_of(self._folder, entries)
        refresh_s = _REFRESH_S if status.state == "running" else 0
        at_work = {"state": _STATES[status.state], "lines": self._lines(status), "refresh_s": refresh_s}
        return page_of(self._contents, at_work)

    def committed(self, entries: Sequence[Entry] | None = None) -> tuple[int, ...]:
        """The generations that may be shown: a histogram that is on disk may still be burned.

        `entries`: those of the ledger, where they were read already.
        """
        slots = slots_of(self._ledger.entries() if entries is None else entries, self._run)
        return tuple(sorted({slot.reserved.generation for slot in slots if slot.artifact_sha256 is not None}))

    def _lines(self, status: Status) -> list[str]:
        _, state, *rest = status.lines(self._folder)
        if status.state != "running":
            return [state, *rest]
        reading = read_reading(self._folder)
        return [*(reading.lines if reading else []), *rest]

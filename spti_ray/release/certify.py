"""Rewrites the certificate of a finished run, with audit results and with what the ledger has recorded since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.dp.certificate import certificate
from spti_ray.dp.history import attempts_of
from spti_ray.dp.ledger import Ledger
from spti_ray.public.release import rewrite_certificate
from spti_ray.release.report.build import build_report
from spti_ray.runs.run_file import read_run


class FinishedRun:
    """A finished run and its ledger, whose certificate can be rewritten."""

    def __init__(self, directory: Path) -> None:
        """Read the run in `directory`.

        Raises:
            ConfigError: the run is not finished, or the ledger does not know it.
        """
        known = read_run(directory)
        self._directory, self._config = directory, parse_config(known["config"])
        self._run = self._config.certified_run(str(known["run"]))
        self._release = directory / "release"
        if not (self._release / "manifest.parquet").is_file():
            raise ConfigError(f"{directory}: the run is not finished; run the same command again first")
        self._ledger = Ledger(self._config.ledger.location, self._config.dataset.id)
        if not attempts_of(self._ledger.entries(), self._run):
            raise ConfigError(f"{self._ledger.location} does not know this run; {self._config.ledger.if_missing}")

    def rewrite_certificate(self, audits: Mapping[str, Any]) -> str:
        """Rewrite privacy.json, the datasheet and the report with `audits`; returns one line for people."""
        document = certificate(self._ledger.entries(), self._run, audits)
        rewrite_certificate(self._release, self._config, document)
        build_report(self._directory)
        if document is None:
            return "no certificate: an attempt of this run simulated its noise"
        head = document["ledger"]["head"][:12]
        line = f"wrote {self._release / 'privacy.json'} with these results, as of ledger head {head}"
        if audits["build"] not in document["noise"]["builds"]:
            line += "; note: the run was made by another build than the one that was audited, and spti verify says so"
        return line

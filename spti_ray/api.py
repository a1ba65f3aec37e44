"""`spti_ray.run`: a run from Python. It does what `spti run` does, and nothing else."""

from __future__ import annotations

import copy
import html
import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spti_ray.config import Config
from spti_ray.config.identity import as_stored, changed_keys, config_sha256, resolved
from spti_ray.config.loading import (
    ConfigError,
    check_settings,
    load_config,
    parse_config,
    with_ledger_in,
    with_overrides,
)
from spti_ray.config.method_traits import why_not_certified, why_not_private
from spti_ray.figures import at_least, release_epsilon
from spti_ray.runs.run_file import read_run

_HASH = 12 * "?"
"""The end of a run's default name, as a pattern."""

_SHOWN = 24
"""Images that a notebook shows of a release."""


@dataclass(frozen=True)
class Release:
    """What a run left.

    `run` is the run's folder. `folder` in it is the only part meant to leave the machine. If the run is not private or
    has no certificate, `folder` is inside `run/internal` and must stay as well; `stays_inside` then says why.
    """

    folder: Path
    run: Path
    stays_inside: str = ""

    @cached_property
    def images(self) -> tuple[Path, ...]:
        """The image files, in the order of the manifest if there is one.

        Raises:
            ConfigError: the manifest names a file outside of the release.
        """
        rows = self.folder / "metadata.jsonl"
        if rows.is_file():
            # Lines end at "\n" alone: a text may hold other line separators.
            lines = [line for line in rows.read_text(encoding="utf-8").split("\n") if line]
            found = tuple(self.folder / json.loads(line)["file_name"] for line in lines)
            if not all(path.resolve().is_relative_to(self.folder.resolve()) for path in found):
                raise ConfigError(f"{rows}: names a file outside of the release; run spti verify")
            return found
        return tuple(sorted(self.folder.rglob("*.png")))

    @cached_property
    def certificate(self) -> dict[str, Any] | None:
        """The contents of `privacy.json`: epsilon, delta, mechanism, what the dataset has spent. None if there is none.

        For a run that goes on from another one, epsilon is that of both together, and `parts` has what each spent.
        """
        path = self.folder / "privacy.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    @property
    def report(self) -> Path:
        """The report, one HTML file. A run that stays inside has none."""
        return self.folder / "report.html"

    def _repr_html_(self) -> str:
        """What a notebook shows: what is promised, and the first images."""
        if self.certificate:
            epsilon = at_least(release_epsilon(self.certificate))
            said = f"epsilon {epsilon}, delta {at_least(self.certificate['delta'])}"
        else:
            said = f"NOT PRIVATE OR NOT CERTIFIED, do not share: {self.stays_inside or 'no certificate'}"
        data = (b64encode(path.read_bytes()).decode() for path in self.images[:_SHOWN])
        shown = "".join(f'<img src="data:image/png;base64,{png}" height="96"> ' for png in data)
        return f"<p>{len(self.images)} images, {html.escape(said)}: {html.escape(str(self.folder))}</p>{shown}"


def run(
    config: str | Path | Mapping[str, Any] | Config,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    sign: Callable[[bytes], bytes] | None = None,
) -> Release:
    """Run a configuration, or go on with the run that `out` holds; for a finished run it returns at once.

    Args:
        config: a YAML file, `bundled:stickers`, a mapping of sections as the file has them, or a validated `Config`.
            Without a file, a relative `ledger.path` is in the user's folder: `~/.local/share/spti-ray`.
        out: the run's folder. By default `runs/` and a name made of dataset and configuration: the same settings
            find the same run, so that a cell that is run twice is not charged twice.
        overrides: settings such as `privacy.epsilon=1`, as `spti run --set` takes them.
        sign: signs bytes with the key of `release.provenance.certificate`, which may be in a hardware module, in place
            of `key_file` or `key_env`. Returns the signature as COSE has it (RFC 9053): for ECDSA r and s one after the
            other, with the hash of the curve; for RSA, PSS with SHA-256. Is called from several threads, once for an
            image and once before the run starts.

    Returns:
        What the run left.

    Raises:
        ConfigError, DataError, BudgetRefused, ResourcesNeverArrived, and others of `spti_ray.errors`: the message is
            one line that says what to do.
    """
    settings = _settings(config, overrides)
    where = Path(out) if out else _default_folder(settings)
    from spti_ray.driver.driver import run_config

    return Release(
        run_config(settings, where, sign=sign), where, why_not_private(settings) or why_not_certified(settings)
    )


def _default_folder(settings: Config) -> Path:
    """The folder in `runs/` of a run with these settings, so that a run that was begun is not charged again.

    It is named after the hash of the settings. A folder of an earlier build has the hash of the settings that the build
    knew, and one of another place of the ledger has another hash; these are looked for too.
    """
    runs, resolved_now = Path("runs"), resolved(settings)
    now, before = (
        runs / f"{settings.dataset.id}-{config_sha256(known)[: len(_HASH)]}"
        for known in (settings, as_stored(settings, {}))
    )
    if now.exists() or before.exists():
        return now if now.exists() else before
    for folder in sorted(runs.glob(f"{settings.dataset.id}-{_HASH}")):
        known = (folder / "run.yaml").is_file() and read_run(folder)["config"]
        if known and set(changed_keys(known, resolved_now)) <= {"ledger.path"}:
            return folder
    return now


def _settings(config: str | Path | Mapping[str, Any] | Config, overrides: Sequence[str]) -> Config:
    if isinstance(config, (str, Path)):
        return load_config(Path(config), overrides)
    if isinstance(config, Config):
        raw = resolved(config)
    else:
        # Before it is copied, which would fail with no clear line on settings that hold themselves.
        check_settings(config)
        raw = copy.deepcopy(dict(config))
    # There is no file whose folder a relative ledger.path could be in.
    return parse_config(with_ledger_in(None, with_overrides(raw, overrides)))

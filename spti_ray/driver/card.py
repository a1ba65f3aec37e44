"""The data card of a run that is rerun with another `release.card`: no image, vote or charge depends on it.

`run.yaml` has the card that the release says, since `spti audit` and `spti refine` go on from there.
"""

from __future__ import annotations

from spti_ray.config import Config
from spti_ray.config.card import CardConfig
from spti_ray.config.loading import parse_section
from spti_ray.config.method_traits import stays_inside
from spti_ray.io.files import write_atomic
from spti_ray.public.release import rewrite_card
from spti_ray.public.released_files import read_certificate, read_manifest
from spti_ray.release.report.build import build_report
from spti_ray.runs.folder import RunDir
from spti_ray.runs.run_file import read_run

_BEGUN = "card-begun"
"""In the internal folder while a release's card is rewritten. Where it is found, that was interrupted."""

_FORMER_VERSION = "1.0.0"
"""What earlier builds stored where nobody had set a version."""


def take_up_card(config: Config, run: RunDir) -> bool:
    """Store `release.card` in `run.yaml`, and rewrite what a release that is there says of it.

    Datasheet, `croissant.json` and report are each replaced as a whole. If that is interrupted, the next start does it
    again.

    Args:
        config: the configuration of this start.
        run: the run's folder, whose lock the caller holds.

    Returns:
        Whether a release was rewritten.

    Raises:
        ManifestDamaged: the release can't be read; nothing was changed.
        ConfigError: the card in `run.yaml` can't be read.
    """
    card, stored = config.release.card, _stored(run)
    is_released = run.release.is_dir() and not stays_inside(config)
    if is_released and card.version is None and stored.version == _FORMER_VERSION:
        # A release is not rewritten because another build looks at it.
        card = card.model_copy(update={"version": _FORMER_VERSION})
    begun = run.internal / _BEGUN
    if card == stored and not begun.exists():
        return False
    if not is_released:
        run.note_card(card.model_dump(mode="json"))
        return False
    read_manifest(run.release)
    certificate = read_certificate(run.release)
    write_atomic(begun, "", mode=0o600)
    run.note_card(card.model_dump(mode="json"))
    said = config.release.model_copy(update={"card": card})
    rewrite_card(run.release, config.model_copy(update={"release": said}), certificate)
    if run.finished:  # else the report is still to come, which makes it finished
        build_report(run.path)
    begun.unlink()
    return True


def _stored(run: RunDir) -> CardConfig:
    """The card in `run.yaml`, where earlier builds had none."""
    return parse_section(CardConfig, read_run(run.path)["config"].get("release", {}).get("card") or {})

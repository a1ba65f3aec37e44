"""What each released image says of its release: how it was made, and what protects the private images.

All of it is public, and in the certificate or the ledger as well: no text, no label, no seed. It is the same for all
images of a release.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spti_ray import __version__
from spti_ray.config import Config
from spti_ray.config.method_traits import declaration_of, why_not_certified, why_not_private
from spti_ray.figures import at_least, release_epsilon
from spti_ray.methods import PrivateData

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media that a trained model made (https://cv.iptc.org/newscodes/digitalsourcetype/)."""

PROTECTED = "differential privacy"
NOTHING_TO_PROTECT = "none needed: no private data used"
SIMULATED_NOISE = "NOT PRIVATE: the noise was simulated"


@dataclass(frozen=True)
class Statement:
    """What an image says. A field that does not apply is empty."""

    method: str
    """The method's name, as in `method: NAME`."""
    protection: str
    """What stands between the private images and this one, or that nothing does."""
    epsilon: str
    """Of everything that the release depends on, rounded up; `infinity` without noise."""
    delta: str
    unit: str
    """What differs between neighbouring data sets: `record`, or `group (patient_id)`."""
    run: str
    """The id of the run whose votes it rests on, by which certificate and ledger know it."""
    ledger_entry: str
    """SHA-256 of that run's first OPENED entry in the ledger of its dataset."""
    simulated: str
    """The roles whose engines only took the place of a model; the image then means nothing."""
    software: str
    """Name and version of the program."""

    def fields(self) -> dict[str, str]:
        """What it says, by name, without what does not apply."""
        return {name: value for name, value in asdict(self).items() if value}


def statement_of(
    config: Config, run: str, certificate: Mapping[str, Any] | None, ledger_entry: str = "", simulated: str = ""
) -> Statement:
    """What the images of a run say.

    Args:
        config: the run's configuration.
        run: the id of the run whose votes the images rest on (`Config.certified_run`).
        certificate: that run's certificate, of any time: later ones have the same figures of this release. None if
            there is none.
        ledger_entry: the hash of that run's first OPENED entry; empty if it was never opened.
        simulated: the roles whose engines were simulated, for people; empty if none was.
    """
    epsilon = delta = unit = ""
    if why := why_not_private(config):
        protection = f"NOT PRIVATE, internal: {why}"
        epsilon = "infinity" if math.isinf(config.privacy.epsilon) else ""
    elif why := why_not_certified(config):
        protection = f"NOT CERTIFIED, internal: {why}"
        epsilon, delta, unit = at_least(config.privacy.epsilon), at_least(config.privacy.delta), config.unit_in_words
    elif certificate is not None:
        protection = PROTECTED
        epsilon, delta, unit = figures_of(certificate)
    elif declaration_of(config).private_data is PrivateData.NOT_READ:
        protection = NOTHING_TO_PROTECT
    else:
        protection = SIMULATED_NOISE
    return Statement(
        method=config.method,
        protection=protection,
        epsilon=epsilon,
        delta=delta,
        unit=unit,
        run=run,
        ledger_entry=ledger_entry,
        simulated=simulated,
        software=f"spti-ray {__version__}",
    )


def figures_of(certificate: Mapping[str, Any]) -> tuple[str, str, str]:
    """Epsilon, delta and unit of a certificate, as images say them.

    Raises:
        KeyError, TypeError, ValueError: it lacks one of them, or has something else in its place.
    """
    return at_least(release_epsilon(certificate)), at_least(float(certificate["delta"])), str(certificate["unit"])

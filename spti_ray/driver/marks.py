"""What the images of a run say of themselves, from its settings, its ledger and its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spti_ray.config import Config
from spti_ray.config.method_traits import stays_inside
from spti_ray.dp.entries import Entry
from spti_ray.dp.history import opened_first
from spti_ray.provenance.c2pa_manifests import ImageSigner
from spti_ray.provenance.credentials import Credentials
from spti_ray.provenance.marks import BARE, Marks
from spti_ray.provenance.statement import statement_of
from spti_ray.provenance.xmp import packet
from spti_ray.public.datasheet import simulated_in
from spti_ray.public.release import Models


def marks_of(
    config: Config,
    run_id: str,
    entries: Sequence[Entry],
    certificate: Mapping[str, Any] | None,
    models: Models,
    credentials: Credentials | None,
) -> Marks:
    """The marks of all images. They are known before the first one is rendered, and stay as they are.

    The figures are those of the certificate, which are the planned ones: what was charged, or what other runs on the
    dataset spend, does not change them. What stays inside is not signed.

    Args:
        config: the run's configuration.
        run_id: its id.
        entries: those of its ledger, or of a re-rendering those of the ledger of the run whose texts it renders; none
            where no ledger knows it.
        certificate: as of now; None if there is none.
        models: what each role runs.
        credentials: who signs; None for nobody.
    """
    if not config.release.provenance.xmp:
        return BARE
    run = config.certified_run(run_id)
    said = statement_of(config, run, certificate, opened_first(entries, run), simulated_in(models))
    if credentials is None or stays_inside(config):
        return Marks(packet(said))
    renderer = models.get("renderer", {})
    agent = renderer.get("model") or renderer.get("kind", ""), renderer.get("revision", "")
    return Marks(packet(said), ImageSigner(credentials, said.fields(), agent))

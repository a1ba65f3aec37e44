"""What images say of themselves is compared with manifest, certificate and ledger."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from spti_ray.dp.certificate import certificate
from spti_ray.dp.history import opened_first
from spti_ray.dp.ledger import Ledger
from spti_ray.models.pixels import to_png
from spti_ray.provenance.png_chunks import with_xmp
from spti_ray.provenance.statement import statement_of
from spti_ray.provenance.xmp import packet
from spti_ray.public.release import XMP_KEY
from spti_ray.release.verify_provenance import ProvenanceCheck
from tests.unit.release.test_verify import CONFIG, finished

PNG = to_png(np.zeros((4, 4, 3), np.uint8))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory):
    """The certificate of a run, and its ledger's entries."""
    root = tmp_path_factory.mktemp("known")
    release = finished(root)
    return json.loads((release / "privacy.json").read_text()), Ledger(root / "ledger", "stickers").entries()


def failures(known, said: str | None, images: list[bytes], with_ledger: bool = True) -> list[str]:
    document, entries = known
    metadata = None if said is None else {XMP_KEY: said.encode()}
    table = pa.table({"file": [str(number) for number in range(len(images))]}).replace_schema_metadata(metadata)
    check = ProvenanceCheck(table, document, entries if with_ledger else None)
    for number, image in enumerate(images):
        check.see(str(number), image)
    return [found.field.removeprefix("release.provenance").strip(" .") for found in check.checks() if not found.holds]


def honest(known) -> str:
    entries = known[1]
    return packet(statement_of(CONFIG, "run-1", certificate(entries, "run-1"), opened_first(entries, "run-1")))


def test_what_is_said_truly_holds(known):
    assert failures(known, honest(known), [with_xmp(PNG, honest(known))] * 2) == []


@pytest.mark.parametrize("image", [PNG, with_xmp(PNG, "else"), b"no image", with_xmp(PNG, None)])
def test_an_image_that_does_not_say_it_is_noticed(known, image):
    assert failures(known, honest(known), [with_xmp(PNG, honest(known)), image]) == ["in XMP"]


@pytest.mark.parametrize(
    ("field", "true", "false"),
    [
        ("epsilon", ">2<", ">1.9<"),
        ("delta", ">1e-05<", ">1e-06<"),
        ("unit", ">record<", ">group (patient)<"),
        ("run", ">run-1<", ">run-2<"),
        ("method", ">spti<", ">random<"),
        ("protection", ">differential privacy<", ">none needed: no private data used<"),
        ("source_type", "trainedAlgorithmicMedia", "digitalCapture"),
    ],
)
def test_no_field_can_be_said_otherwise(known, field, true, false):
    said = honest(known).replace(true, false)
    assert said != honest(known)
    expected = ["run", "ledger_entry"][:1] if field == "run" else [field]
    assert failures(known, said, [with_xmp(PNG, said)]) == expected


def test_the_ledger_entry_is_compared_where_there_is_a_ledger(known):
    entry = opened_first(known[1], "run-1")
    said = honest(known).replace(entry, "0" * 64)
    assert failures(known, said, [with_xmp(PNG, said)]) == ["ledger_entry"]
    assert failures(known, said, [with_xmp(PNG, said)], with_ledger=False) == []


def test_what_can_not_be_read_fails(known):
    assert failures(known, "<x", [with_xmp(PNG, "<x")]) == [""]
    assert failures(({}, known[1]), honest(known), [with_xmp(PNG, honest(known))]) == [""]


def test_of_a_release_that_is_not_marked_nothing_is_asked(known):
    assert failures(known, None, [PNG, b"no image"]) == []

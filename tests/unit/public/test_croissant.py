"""`croissant.json`: what a release says of itself to machines."""

import json

import mlcroissant
import pytest

from spti_ray.public.release import rewrite_certificate, write_release
from tests.unit.public.test_release import CERTIFICATE, MODELS, config, release  # noqa: F401 a fixture

CARD = {
    "license": "CC-BY-4.0",
    "creator": "A hospital",
    "url": "https://example.org/x",
    "version": "1.2.0",
    "published": "2027-01-31",
}


def document_of(folder):
    return json.loads((folder / "croissant.json").read_text())


@pytest.fixture
def write(release):  # noqa: F811
    folder, items = release

    def write(certificate=CERTIFICATE, **card):
        write_release(folder, config(release={"images": len(items), "card": card}), items, MODELS, certificate)
        return document_of(folder)

    return write


def test_what_the_publisher_said_is_in_it_and_mlcroissant_has_nothing_to_say(write, release, caplog):  # noqa: F811
    document = write(**CARD)
    assert document["license"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert document["creator"] == {"@type": "Organization", "name": "A hospital"}
    assert document["datePublished"] == "2027-01-31" and document["version"] == "1.2.0"
    metadata = mlcroissant.Dataset(jsonld=str(release[0] / "croissant.json")).metadata
    assert metadata.name == "Stickers *2*" and not metadata.ctx.issues.errors
    assert [line for line in metadata.ctx.issues.warnings if "citeAs" not in line] == []
    assert metadata.data_limitations and metadata.data_use_cases and metadata.personal_sensitive_information


def test_what_nobody_said_is_not_in_it_and_mlcroissant_only_recommends_it(write, release):  # noqa: F811
    silent = {"license", "creator", "url", "datePublished", "version"}
    assert not silent & write().keys()
    assert "Published" not in (release[0] / "datasheet.md").read_text()
    issues = mlcroissant.Dataset(jsonld=str(release[0] / "croissant.json")).metadata.ctx.issues
    assert not issues.errors and all("is recommended" in line or "version" in line for line in issues.warnings)


def test_a_version_alone_is_published(write, release):  # noqa: F811
    assert write(version="0.3.0")["version"] == "0.3.0"
    assert "- **Published:** version 0.3.0.\n" in (release[0] / "datasheet.md").read_text()


def test_the_guarantee_is_told_in_the_datasheets_words_and_not_rounded_down(write):
    told = write(CERTIFICATE | {"epsilon": 1.0000001})["rai:personalSensitiveInformation"]
    assert any(line.startswith("Guarantee: epsilon 1.00001 at delta 1e-05 for each record") for line in told)
    assert "What is not protected: the label list" in told
    assert any("private images voted, under differential privacy" in line for line in [write()["description"]])


def test_without_a_certificate_it_claims_no_privacy(write):
    document = write(None)
    assert document["description"].startswith("WARNING: THIS RELEASE IS NOT PRIVATE.")
    text = json.dumps({key: value for key, value in document.items() if key != "rai:dataLimitations"})
    assert "epsilon" not in text and "differential" not in text
    assert "differential-privacy" not in json.dumps(document)


def test_no_private_place_is_in_it_and_it_is_the_same_when_it_is_written_again(write, release):  # noqa: F811
    write(**CARD)
    before = (release[0] / "croissant.json").read_bytes()
    assert b"/secret" not in before
    write(**CARD)
    assert (release[0] / "croissant.json").read_bytes() == before


def test_it_follows_the_certificate_when_that_is_written_anew(write, release):  # noqa: F811
    write()
    rewrite_certificate(release[0], config(), CERTIFICATE | {"epsilon": 7.0})
    assert "epsilon 7 at delta" in json.dumps(document_of(release[0]))

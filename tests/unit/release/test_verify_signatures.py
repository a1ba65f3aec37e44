"""What `spti verify` tells of signatures: altered, of somebody unknown, of a test, expired, or not checked at all."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from spti_ray.config.provenance import ProvenanceConfig
from spti_ray.models.pixels import to_png
from spti_ray.provenance.c2pa_manifests import ImageSigner
from spti_ray.provenance.credentials import credentials_of
from spti_ray.public.datasheet import Signed
from spti_ray.release import verify_signatures
from spti_ray.release.verify_signatures import SignatureCheck
from tests.certificates import written

PNG = to_png(np.zeros((4, 4, 3), np.uint8))
SAID = {"run": "run-1", "epsilon": "2"}


def signed_by(settings: dict[str, str], said: dict[str, str] = SAID) -> bytes:
    credentials = credentials_of(ProvenanceConfig(**settings))
    assert credentials is not None
    return ImageSigner(credentials, said, ("m", "")).sign(PNG)


def told(*images: bytes, anchors: str | None = None, is_test: bool = False) -> dict[str, str]:
    """What is told of each thing: `ok`, `FAIL` or `?`, and how it goes on."""
    check = SignatureCheck(Signed("Example Signer", is_test), SAID | {"source_type": "x"}, anchors)
    for image in images:
        check.see("1.png", image)
    marks = {(True, False): "ok", (True, True): "?", (False, False): "FAIL"}
    return {
        found.field.removeprefix("release.provenance "): f"{marks[found.holds, found.open]} {found.detail}"
        for found in check.checks()
    }


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return written(tmp_path_factory.mktemp("owned"))


def test_a_whole_signature_holds_and_by_whom_is_open_until_certificates_are_named(owned):
    image = signed_by(owned)
    assert told(image)["signatures"] == "ok 1 images signed by Example Signer, not altered since"
    assert told(image)["signatures: by whom"].startswith("? not trusted by a list, since none was given")
    known = Path(owned["certificate"]).read_text()
    assert told(image, anchors=known)["signatures: by whom"] == "ok each leads to a certificate of --trust"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("bare", "no manifest"),
        ("other", "says something else than its XMP"),
        ("altered", "altered: assertion.dataHash"),
    ],
)
def test_an_image_that_does_not_hold_fails(owned, kind, why):
    flipped = bytearray(signed_by(owned))
    flipped[-20] ^= 1
    image = {"bare": PNG, "other": signed_by(owned, SAID | {"epsilon": "1"}), "altered": bytes(flipped)}[kind]
    assert told(signed_by(owned), image)["signatures"].startswith(f"FAIL 1 image(s) do not hold: ['1.png ({why}")


def test_a_test_certificate_is_told_whatever_the_manifest_says(owned):
    assert "a TEST certificate" in told(signed_by({"certificate": "test"}))["signatures: by whom"]
    assert "a TEST certificate" in told(signed_by(owned), is_test=True)["signatures: by whom"]
    known = Path(owned["certificate"]).read_text()
    assert told(signed_by({"certificate": "test"}), anchors=known)["signatures: by whom"].startswith("FAIL")


def test_an_expired_certificate_is_told_and_no_failure(tmp_path):
    image = signed_by(written(tmp_path, days=(-1, 1.5 / 86_400)))
    time.sleep(2.5)
    assert told(image)["signatures"].startswith("ok")
    assert told(image)["signatures: when"].startswith("? not altered, but the certificate in 1 image(s) has expired")


def test_without_the_library_it_is_told_that_nothing_was_checked(owned, monkeypatch):
    monkeypatch.setattr(verify_signatures, "can_read_manifests", lambda: False)
    assert told(PNG) == {"signatures": "? not checked: it needs another library: pip install 'spti-ray[provenance]'"}

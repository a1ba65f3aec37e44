"""Signed manifests: what they say, what is noticed, and what they leave as it was."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer

import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from spti_ray.config.provenance import ProvenanceConfig
from spti_ray.models.pixels import to_png
from spti_ray.provenance.c2pa_manifests import ImageSigner, SigningFailed, read_manifest
from spti_ray.provenance.credentials import Credentials, credentials_of
from spti_ray.provenance.png_chunks import with_xmp, xmp_of
from spti_ray.provenance.statement import SOURCE_TYPE, Statement
from spti_ray.provenance.xmp import packet
from tests.certificates import key_pem, made, pem_of, written

SAID = {"run": "run-1", "ledger_entry": "ab" * 32, "epsilon": "2"}
PNG = with_xmp(to_png(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)), "<x/>")


@pytest.fixture(scope="module")
def signer() -> ImageSigner:
    credentials = credentials_of(ProvenanceConfig(certificate="test"))
    assert credentials is not None
    return ImageSigner(credentials, SAID, ("org/sd", "abc2"))


def test_a_manifest_says_what_the_xmp_says_and_who_rendered(signer):
    signed = signer.sign(PNG)
    found = read_manifest(signed)
    assert found.said == SAID and found.created == SOURCE_TYPE and found.altered == "" and not found.trusted
    with c2pa.Reader("image/png", io.BytesIO(signed)) as reader:
        assert reader.get_validation_state() == "Valid"
        (action,) = reader.get_active_manifest()["assertions"][0]["data"]["actions"]
    assert action["softwareAgent"] == {"name": "org/sd", "version": "abc2"}


def test_xmp_and_pixels_stay_and_there_is_no_thumbnail(signer):
    signed = signer.sign(PNG)
    assert xmp_of(signed) == "<x/>" and with_xmp(signed, "<x/>") == PNG
    assert len(signed) - len(PNG) < 14_000
    with Image.open(io.BytesIO(signed)) as image, Image.open(io.BytesIO(PNG)) as before:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(before))


def test_an_altered_image_is_noticed_and_one_without_a_manifest_has_none(signer):
    signed = bytearray(signer.sign(PNG))
    signed[-20] ^= 1
    assert read_manifest(bytes(signed)).altered == "assertion.dataHash.mismatch"
    assert read_manifest(PNG) is None
    assert read_manifest(b"no image").altered


def test_nothing_is_fetched_for_an_image_that_names_a_manifest_elsewhere():
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        place = f"http://127.0.0.1:{server.server_port}/x.c2pa"
        named = packet(Statement(*[""] * len(fields(Statement)))).replace(
            'rdf:about=""', f'rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{place}"'
        )
        found = read_manifest(with_xmp(PNG, named))
        server.shutdown()
        thread.join()
    assert found.altered and asked == []


def test_only_an_intact_manifest_of_the_same_statement_is_kept(signer):
    signed = signer.sign(PNG)
    altered = bytearray(signed)
    altered[-20] ^= 1
    others = ImageSigner(signer.credentials, SAID | {"run": "run-2"}, ("org/sd", ""))
    assert signer.has_signed(signed)
    assert not any(signer.has_signed(image) for image in (PNG, bytes(altered), others.sign(PNG), b"no image"))


def test_a_signer_is_trusted_where_it_leads_to_a_named_certificate(tmp_path):
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = made(root_key, "Example Authority", usage=None, is_authority=True)
    (tmp_path / "chain.pem").write_text(pem_of(made(key, issuer=(root, root_key))))
    (tmp_path / "key.pem").write_bytes(key_pem(key))
    settings = {"certificate": str(tmp_path / "chain.pem"), "key_file": str(tmp_path / "key.pem")}
    signed = ImageSigner(credentials_of(ProvenanceConfig(**settings)), SAID, ("m", "")).sign(PNG)
    stranger = made(ec.generate_private_key(ec.SECP256R1()), is_authority=True)
    assert read_manifest(signed, pem_of(root)).trusted
    assert not read_manifest(signed, pem_of(stranger)).trusted and read_manifest(signed, pem_of(stranger)).altered == ""


def test_an_expired_certificate_is_told_apart_from_an_altered_image(tmp_path):

    settings = written(tmp_path, days=(-1, 1.5 / 86_400))
    signed = ImageSigner(credentials_of(ProvenanceConfig(**settings)), SAID, ("m", "")).sign(PNG)
    time.sleep(2.5)
    found = read_manifest(signed)
    assert found.expired and found.altered == ""


def test_a_failing_signer_ends_in_one_line_that_does_not_repeat_it(signer, caplog):
    def fails(data: bytes) -> bytes:
        raise OSError("slot 7, PIN 1234")

    broken = Credentials(signer.credentials.chain, "ES256", "x", fails)
    with pytest.raises(SigningFailed, match="the signer raised OSError.*the same command goes on") as caught:
        ImageSigner(broken, SAID, ("m", "")).sign(PNG)
    assert "1234" not in str(caught.value) + caplog.text and "\n" not in str(caught.value)

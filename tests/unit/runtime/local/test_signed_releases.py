"""Whole runs whose images are signed: once, last, by whoever the settings name, and kept as they are from there on."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import c2pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config import Config
from spti_ray.config.loading import ConfigError
from spti_ray.driver.driver import run_config
from spti_ray.errors import FAILED, USAGE, exit_code
from spti_ray.provenance.c2pa_manifests import ImageSigner, SigningFailed, read_manifest
from spti_ray.provenance.credentials import credentials_of
from spti_ray.provenance.png_chunks import has_manifest_store, xmp_of
from spti_ray.provenance.xmp import said_in
from spti_ray.public import release as public_release
from spti_ray.release.checks import Check
from spti_ray.release.export.command import export_release
from spti_ray.release.export.formats import WRITERS
from spti_ray.release.verify import release_and_chain, verify_release
from spti_ray.release.verify_alone import verify_alone
from spti_ray.runtime.local.engines import Engines
from spti_ray.step_progress import untold
from tests.certificates import written
from tests.local_runs import run

pytestmark = pytest.mark.usefixtures("kept")

Local = Callable[..., Config]
TEST = {"release__provenance": {"certificate": "test"}}


class Crash(BaseException):
    """The driver stops here."""


def crash(*_: object, **__: object) -> None:
    raise Crash


@pytest.fixture(scope="module")
def signed(configured: Local, kept: Engines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is signed by a certificate of its owner; its folder, with key and certificate beside it."""
    folder = tmp_path_factory.mktemp("signed")
    run(configured(folder, release__provenance=written(folder)), folder / "run", noise=None)
    return folder / "run"


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


def checks_of(directory: Path, anchors: str | None = None) -> list[Check]:
    return list(verify_release(*release_and_chain(directory, None), anchors=anchors))


def failures(directory: Path, anchors: str | None = None) -> list[str]:
    return [f"{check.field}: {check.detail}" for check in checks_of(directory, anchors) if not check.holds]


def test_each_image_is_signed_and_says_in_both_ways_the_same(signed):
    for png in images(signed / "release").values():
        found = read_manifest(png)
        assert found.signer == "Example Signer" and not found.altered
        assert found.said == {k: v for k, v in said_in(xmp_of(png)).items() if k != "source_type"}
    assert failures(signed) == []
    told = {check.field: check for check in checks_of(signed) if "signatures" in check.field}
    assert told["release.provenance signatures"].detail == "6 images signed by Example Signer, not altered since"
    by_whom = told["release.provenance signatures: by whom"]
    assert by_whom.open and "not trusted by a list" in by_whom.detail
    assert failures(signed, (signed.parent / "signer.pem").read_text()) == []
    for page in ("datasheet.md", "report.html"):
        text = (signed / "release" / page).read_text()
        assert "signed by Example Signer" in text and "TEST" not in text


def test_the_key_and_its_place_are_nowhere_in_a_run(signed):
    lines = (signed.parent / "signer.key").read_text().split("\n")[1:-2]
    for path in signed.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(line.encode() in content for line in lines), path
        if path.is_relative_to(signed / "release"):
            assert b"signer.key" not in content and b"signer.pem" not in content, path


def test_signatures_that_lead_to_no_named_certificate_fail_as_that_and_not_as_altered(signed, tmp_path):
    stranger = Path(written(tmp_path, name="Stranger")["certificate"]).read_text()
    (line,) = failures(signed, stranger)
    assert "not altered, but 6 image(s) lead to no certificate of --trust" in line


def test_the_command_takes_certificates_to_trust_and_names_a_file_that_holds_none(signed):
    trusting = CliRunner().invoke(app, ["verify", str(signed), "--trust", str(signed.parent / "signer.pem")])
    assert trusting.exit_code == 0 and trusting.output.endswith("checks hold\n"), trusting.output
    open_ = CliRunner().invoke(app, ["verify", str(signed)])
    assert open_.exit_code == 0 and open_.output.endswith("checks hold; NOT ALL PROVED, see ?\n")
    for name, why in (("signer.key", "holds no certificate in PEM"), ("none.pem", "can't be read")):
        refused = CliRunner().invoke(app, ["verify", str(signed), "--trust", str(signed.parent / name)])
        assert refused.exit_code == USAGE and why in refused.output and "PRIVATE KEY" not in refused.output


def test_a_run_that_stops_while_it_signs_goes_on_and_keeps_what_it_signed(local, tmp_path, monkeypatch):
    """Here by a test certificate, another one at each start, which is told as one everywhere."""
    config, sign, calls, one = local(**TEST), ImageSigner.sign, [], threading.Lock()

    def stops(signer: ImageSigner, png: bytes) -> bytes:
        with one:
            calls.append(png)
            if len(calls) > 4:  # the first is the trial before the run
                raise Crash
        return sign(signer, png)

    monkeypatch.setattr(ImageSigner, "sign", stops)
    with pytest.raises(Crash):
        run(config, tmp_path / "run", noise=None)
    left = {name: png for name, png in images(tmp_path / "run" / "release.partial").items() if has_manifest_store(png)}
    assert 1 <= len(left) <= 3

    monkeypatch.setattr(ImageSigner, "sign", sign)
    monkeypatch.setattr(public_release, "write_table_atomic", crash)
    with pytest.raises(Crash):
        run(config, tmp_path / "run", noise=None)
    all_signed = images(tmp_path / "run" / "release.partial")
    assert left.items() <= all_signed.items() and all(map(has_manifest_store, all_signed.values()))

    monkeypatch.undo()
    release = run(config, tmp_path / "run", noise=None)
    assert images(release) == all_signed and failures(tmp_path / "run") == []
    for page in ("datasheet.md", "report.html"):
        assert "TEST certificate" in (release / page).read_text()
    (told,) = (check for check in checks_of(tmp_path / "run") if check.field.endswith("by whom"))
    assert told.open and "a TEST certificate" in told.detail


def test_a_signer_that_fails_ends_the_run_in_one_line_and_it_goes_on_and_needs_none_when_finished(local, tmp_path):
    settings = written(tmp_path)
    by_key = local(release__provenance=settings)
    elsewhere = local(release__provenance={"certificate": settings["certificate"]})
    calls: list[bytes] = []

    def fails(data: bytes) -> bytes:
        calls.append(data)
        if len(calls) == 1:  # the trial before the run
            found = credentials_of(by_key.release.provenance)
            assert found is not None
            return found.sign(data)
        raise OSError("PIN 1234")

    with pytest.raises(SigningFailed) as caught:
        run(elsewhere, tmp_path / "run", noise=None, sign=fails)
    assert exit_code(caught.value) == FAILED and "1234" not in str(caught.value)
    release = run(by_key, tmp_path / "run", noise=None)  # where the key is may change
    assert failures(tmp_path / "run") == []
    Path(settings["certificate"]).unlink()
    assert run(by_key, tmp_path / "run", noise=None) == release


@pytest.mark.parametrize("format", WRITERS)
def test_an_export_keeps_the_signed_bytes_and_another_reader_takes_them(signed, tmp_path, format):
    list(export_release(signed, format, str(tmp_path / "out"), None, untold))
    checks = list(verify_alone(tmp_path / "out"))
    assert [check.field for check in checks if not check.holds] == []
    assert any(check.detail.startswith("6 images signed by") for check in checks)
    exported = _first_image(tmp_path / "out", format)
    assert exported == images(signed / "release")["00000.png"]
    with c2pa.Reader("image/png", io.BytesIO(exported)) as reader:
        assert reader.get_validation_state() == "Valid"


def _first_image(out: Path, format: str) -> bytes:
    if format == "parquet":
        return pq.read_table(next((out / "data").iterdir()))["image"][0].as_py()["bytes"]
    if format == "webdataset":
        with tarfile.open(next((out / "data").iterdir())) as tar:
            return tar.extractfile("00000.png").read()
    if format == "datasets":
        from datasets import Image as Encoded
        from datasets import load_from_disk

        return load_from_disk(out / "data").cast_column("image", Encoded(decode=False))[0]["image"]["bytes"]
    return next(out.rglob("00000.png")).read_bytes()


@pytest.mark.parametrize("place", ["manifest", "pixels", "padding"])
def test_one_flipped_byte_fails(signed, tmp_path, place):
    list(export_release(signed, "imagefolder", str(tmp_path / "out"), None, untold))
    path = tmp_path / "out" / "images" / "00001.png"
    png = bytearray(path.read_bytes())
    at = {
        "manifest": png.index(b"org.spti-ray.release") + 3,
        "pixels": len(png) - 20,
        "padding": png.index(b"IDAT") - 60,
    }
    png[at[place]] ^= 1
    path.write_bytes(png)
    failed = {check.field: check.detail for check in verify_alone(tmp_path / "out") if not check.holds}
    assert "release.images on disk" in failed
    if place != "padding":  # which no signature covers, unlike the hash in the release's manifest
        assert "altered: " in failed["release.provenance signatures"]


def test_what_can_not_sign_ends_the_run_before_it_starts_anything(local, tmp_path):
    settings = written(tmp_path, days=(-9, -1))
    with pytest.raises(ConfigError, match="expired") as caught:
        run_config(local(release__provenance=settings), tmp_path / "run", Console(quiet=True))
    assert exit_code(caught.value) == USAGE
    assert not (tmp_path / "run").exists() and not (tmp_path / "ledger").exists()


def test_what_stays_inside_is_not_signed_and_needs_no_certificate(local, tmp_path):
    gone = {"certificate": str(tmp_path / "none.pem")}
    changes = {"method": "captions", "privacy__allow_not_private": True, "release__provenance": gone}
    folder = run(local(**changes), tmp_path / "run")
    assert not any(map(has_manifest_store, images(folder).values()))

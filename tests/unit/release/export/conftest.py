"""A finished run with labels, and what its release has."""

import json

import pytest

from spti_ray.io.files import sha256_of
from tests.unit.release.report.runs import CERTIFICATE, make_run


@pytest.fixture
def run(tmp_path):
    folder = make_run(tmp_path / "run", labels=("cat", "dog"), images=6)
    (folder / "release" / "report.html").write_text("<!doctype html>")
    return folder


@pytest.fixture
def expected(run):
    """(file's bytes, text, label) of each image, in the manifest's order."""
    import pyarrow.parquet as pq

    rows = pq.read_table(run / "release" / "manifest.parquet").to_pylist()
    assert {row["label"] for row in rows} == {"cat", "dog"}
    return [((run / "release" / row["file"]).read_bytes(), row["text"], row["label"]) for row in rows]


def certify(release):
    """Let the certificate name the manifest that is there."""
    release_facts = {"manifest_sha256": sha256_of(release / "manifest.parquet")}
    (release / "privacy.json").write_text(json.dumps(CERTIFICATE | {"release": release_facts}))

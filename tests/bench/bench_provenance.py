"""How long marking and signing an image of 512 x 512 pixels takes: `pytest tests/bench/bench_provenance.py`."""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from spti_ray.config.provenance import ProvenanceConfig
from spti_ray.models.pixels import to_png
from spti_ray.provenance.c2pa_manifests import ImageSigner, read_manifest
from spti_ray.provenance.credentials import credentials_of
from spti_ray.provenance.png_chunks import with_xmp, xmp_of
from spti_ray.provenance.statement import Statement
from spti_ray.provenance.xmp import packet

SAID = Statement(
    method="spti",
    protection="differential privacy",
    epsilon="1",
    delta="1e-05",
    unit="record",
    run="00112233aabbccdd",
    ledger_entry="ab" * 32,
    simulated="",
    software="spti-ray",
)


@pytest.fixture(scope="module")
def bare() -> bytes:
    """As large as a photograph: smooth, with some noise."""
    noise = np.random.default_rng(0).normal(0, 4, (512, 512, 3))
    return to_png((np.linspace(0, 255, 512)[:, None, None] + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def signer() -> ImageSigner:
    credentials = credentials_of(ProvenanceConfig(certificate="test"))
    assert credentials is not None
    return ImageSigner(credentials, SAID.fields(), ("model", "revision"))


def test_xmp(benchmark: BenchmarkFixture, bare: bytes):
    marked = benchmark(with_xmp, bare, packet(SAID))
    benchmark.extra_info["bytes more"] = len(marked) - len(bare)


def test_reading_xmp(benchmark: BenchmarkFixture, bare: bytes):
    assert benchmark(xmp_of, with_xmp(bare, packet(SAID)))


def test_signing(benchmark: BenchmarkFixture, bare: bytes, signer: ImageSigner):
    marked = with_xmp(bare, packet(SAID))
    signed = benchmark(signer.sign, marked)
    benchmark.extra_info["bytes more"] = len(signed) - len(marked)


def test_checking_a_signature(benchmark: BenchmarkFixture, bare: bytes, signer: ImageSigner):
    signed = signer.sign(with_xmp(bare, packet(SAID)))
    assert not benchmark(read_manifest, signed).altered

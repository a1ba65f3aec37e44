"""Who signs: what can be used of certificates and keys, and one line for each that can not, which repeats no key."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from spti_ray.config.loading import ConfigError
from spti_ray.config.provenance import ProvenanceConfig
from spti_ray.provenance.c2pa_manifests import check_credentials
from spti_ray.provenance.credentials import credentials_of
from tests.certificates import SERVER, key_pem, made, pem_of, written

P256 = ec.generate_private_key(ec.SECP256R1())


def credentials(settings: dict[str, str], sign=None):
    found = credentials_of(ProvenanceConfig(**settings), sign)
    if found is not None:
        check_credentials(found)
    return found


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (P256, "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (ed25519.Ed25519PrivateKey.generate(), "ED25519"),
        (rsa.generate_private_key(65537, 2048), "PS256"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_of_key_that_c2pa_has_signs(tmp_path, key, algorithm):
    found = credentials(written(tmp_path, key))
    assert (found.algorithm, found.name, found.is_test) == (algorithm, "Example Signer", False)


@pytest.mark.parametrize("usage", ["1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"], ids=["documents", "C2PA"])
def test_certificates_for_documents_and_of_c2pa_itself_sign(tmp_path, usage):
    assert credentials(written(tmp_path, usage=usage))


def test_the_key_is_in_the_environment_or_signs_elsewhere(tmp_path, monkeypatch):
    settings = written(tmp_path, P256)
    monkeypatch.setenv("SIGNER_KEY", key_pem(P256).decode())
    Path(settings["key_file"]).unlink()
    by_env = credentials({"certificate": settings["certificate"], "key_env": "SIGNER_KEY"})
    asked: list[bytes] = []
    by_hand = credentials(
        {"certificate": settings["certificate"]}, lambda data: asked.append(data) or by_env.sign(data)
    )
    assert by_hand.chain == by_env.chain and asked


def test_nothing_is_signed_without_a_certificate_and_a_test_needs_none():
    assert credentials({}) is None
    found = credentials({"certificate": "test"})
    assert found.is_test and "TEST" in found.name


def remove(settings, name):
    Path(settings[name]).unlink()


def put(settings, name, content):
    Path(settings[name]).write_bytes(content if isinstance(content, bytes) else content.encode())


SECRET = "c2VjcmV0IGtleQ"

BAD = {
    "certificate.*No such file": lambda s: remove(s, "certificate"),
    "certificate.*holds no certificate in PEM": lambda s: put(s, "certificate", SECRET),
    r"certificate.*expired on \d{4}": lambda s: put(s, "certificate", pem_of(made(P256, days=(-9, -1)))),
    "certificate.*not valid before": lambda s: put(s, "certificate", pem_of(made(P256, days=(1, 9)))),
    "certificate.*of a kind that can't sign": lambda s: put(
        s, "certificate", pem_of(made(ec.generate_private_key(ec.SECP256K1())))
    ),
    "certificate.*of a kind": lambda s: put(s, "certificate", pem_of(made(rsa.generate_private_key(65537, 1024)))),
    "certificate: an image could not be signed.*self-signed": lambda s: put(
        s, "certificate", pem_of(made(P256, is_authority=True))
    ),
    "certificate: an image could not be signed.*extended key usage": lambda s: put(
        s, "certificate", pem_of(made(P256, usage=SERVER))
    ),
    "key_file.*No such file": lambda s: remove(s, "key_file"),
    "key_file.*holds no private key in PEM": lambda s: put(s, "key_file", SECRET),
    "key_file.*is not the key of the certificate": lambda s: put(
        s, "key_file", key_pem(ec.generate_private_key(ec.SECP256R1()))
    ),
    "key_file.*is not the key of the certificate; name": lambda s: put(
        s, "key_file", key_pem(dsa.generate_private_key(1024))
    ),
    "key_file.*has a password": lambda s: put(s, "key_file", key_pem(P256, "secret")),
    "key_env: NO_SUCH_KEY: no such environment": lambda s: s.update(key_env="NO_SUCH_KEY") or s.pop("key_file"),
    "names a certificate and no key": lambda s: s.pop("key_file"),
}


@pytest.mark.parametrize("line", BAD)
def test_what_can_not_be_used_is_one_line_that_repeats_no_key(tmp_path, line):
    settings = written(tmp_path, P256)
    secret = key_pem(P256).decode().split("\n")[1]
    BAD[line](settings)
    with pytest.raises(ConfigError, match=line) as caught:
        credentials(settings)
    said = str(caught.value)
    assert "\n" not in said and said.startswith("release.provenance") and secret not in said and SECRET not in said


ROOT_KEY, BETWEEN_KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
ROOT = made(ROOT_KEY, name="Root", is_authority=True)
BETWEEN = made(BETWEEN_KEY, name="Between", issuer=(ROOT, ROOT_KEY), is_authority=True)
SIGNER = made(P256, issuer=(BETWEEN, BETWEEN_KEY))
OTHER = made(OTHER_KEY, name="Somebody")


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ([ROOT, BETWEEN, SIGNER], "'Root' comes before that of 'Between', which it has signed"),
        ([BETWEEN, SIGNER], "'Between' comes before that of 'Example Signer', which it has signed"),
        ([SIGNER, ROOT, BETWEEN], "'Root' comes before that of 'Between', which it has signed"),
        ([OTHER, SIGNER], "the key's own certificate, that of 'Example Signer', is number 2 in it; put it first"),
    ],
    ids=["reversed", "the authority first", "the root in between", "another's first"],
)
def test_a_chain_in_the_wrong_order_is_told_as_that_and_not_as_a_wrong_key(tmp_path, chain, said):
    settings = written(tmp_path, P256)
    put(settings, "certificate", pem_of(*chain))
    with pytest.raises(ConfigError) as caught:
        credentials(settings)
    where = f"release.provenance.certificate: {settings['certificate']}: the chain is in the wrong order: "
    assert str(caught.value).startswith(where) and said in str(caught.value)


@pytest.mark.parametrize("chain", [[SIGNER, BETWEEN, ROOT], [SIGNER, BETWEEN], [SIGNER, ROOT]])
def test_a_chain_in_order_signs_also_where_a_part_of_it_is_missing(tmp_path, chain):
    settings = written(tmp_path, P256)
    put(settings, "certificate", pem_of(*chain))
    assert credentials(settings).name == "Example Signer"


def test_a_signer_that_fails_is_told_without_what_it_said(tmp_path, caplog):
    def fails(data: bytes) -> bytes:
        raise RuntimeError("PIN 1234 is wrong")

    with pytest.raises(ConfigError, match="the signer raised RuntimeError") as caught:
        credentials({"certificate": written(tmp_path, P256)["certificate"]}, fails)
    assert "1234" not in str(caught.value) + caplog.text


def test_a_signer_of_another_key_is_refused(tmp_path):
    other = credentials({"certificate": "test"})
    with pytest.raises(ConfigError, match="does not match"):
        credentials({"certificate": written(tmp_path, P256)["certificate"]}, other.sign)


@pytest.mark.parametrize("settings", [{}, {"certificate": "test"}, {"certificate": "x", "key_file": "y"}])
def test_a_signer_without_a_certificate_or_beside_a_key_is_refused(settings):
    with pytest.raises(ConfigError, match="sign: is given"):
        credentials(settings, lambda data: data)


@pytest.mark.parametrize(
    "settings",
    [
        {"certificate": "x", "key_file": "y", "key_env": "Z"},
        {"key_file": "y"},
        {"key_env": "Z"},
        {"certificate": "test", "key_file": "y"},
        {"certificate": ""},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings):
    with pytest.raises(ValueError, match="provenance|Provenance"):
        ProvenanceConfig(**settings)


def test_nothing_is_signed_where_there_is_no_xmp():
    with pytest.raises(ConfigError, match="leave xmp: true"):
        credentials({"certificate": "test", "xmp": False})


@pytest.mark.parametrize("library", ["c2pa", "cryptography"])
def test_a_missing_library_is_named(monkeypatch, library):
    real = builtins.__import__

    def without(name, *more):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'spti-ray\[provenance\]'"):
        credentials_of(ProvenanceConfig(certificate="test"))

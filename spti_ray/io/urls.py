"""Configured URLs and addresses: which stores are known, and that no credential is in a URL or in a message.

`data.path` and `ledger.path` are written into `run.yaml`, which others on the machine may read, so credentials in them
are refused.
"""

from __future__ import annotations

import re

DATA_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az")
"""Schemes that PyArrow reads."""

LEDGER_SCHEMES = ("s3", "gs", "az")
"""Schemes with an atomic create and durable writes. obstore does not fsync file://, and http:// can't refuse a name
that is taken."""

_AZURE = ("abfs", "abfss", "az")
# At least two letters, and one slash: `s3:/bucket` is a URL that lacks a slash, and no folder of that name.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
# Without punctuation at the end: a colon after a bucket would be taken for the one before a password.
_URL_IN_TEXT = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]+:/[^\s'\"]*[^\s'\":;,.)]")
_SECRET = re.compile(r"key|token|secret|pass|sig|cred|auth", re.IGNORECASE)


def scheme_of(location: str) -> str:
    """The scheme of a URL in lower case, also if it lacks a slash; "" for a path."""
    found = _SCHEME.match(location)
    return found.group(1).lower() if found else ""


def redacted(location: str) -> str:
    """A configured path, or URL without anything that may be a credential, for messages and files."""
    scheme = scheme_of(location)
    if not scheme or not has_credentials(location):
        return location
    address = _after_scheme(location).partition("?")[0].partition("#")[0]
    before, at, host = address.partition("/")[0].rpartition("@")
    if ":" in host and scheme in DATA_SCHEMES:
        return f"{scheme}://(not shown)"
    container = f"{before.partition(':')[0]}@" if at and scheme in _AZURE else ""
    return f"{scheme}://{container}{address.removeprefix(f'{before}{at}')}"


def redacted_in(text: str) -> str:
    """A message in which every URL is `redacted`: users may give a URL where a path belongs."""
    return _URL_IN_TEXT.sub(lambda found: redacted(found[0]), text)


def redacted_address(address: str) -> str:
    """A network address (HOST:PORT, or a URL of Ray's or HTTP) without user, password, query and fragment."""
    scheme, separator, rest = address.rpartition("://")
    return scheme + separator + re.split(r"[?#]", rest, maxsplit=1)[0].rpartition("@")[2]


def has_credentials(url: str) -> bool:
    """Whether a URL has a user, a password or a key in it. In Azure's URLs a container is where a user would be."""
    address, _, query = _after_scheme(url).partition("?")
    before, at, host = address.partition("/")[0].rpartition("@")
    scheme = scheme_of(url)
    if any(_SECRET.search(part.partition("=")[0]) for part in query.partition("#")[0].split("&")):
        return True
    if scheme in _AZURE:
        return ":" in before or (bool(at) and not before) or (not at and ":" in host)
    # A secret may contain a slash, and what follows would be taken for a path. No bucket has a colon in its name.
    cut = ":" in host and scheme in DATA_SCHEMES
    return cut or (bool(at) and not (scheme in ("gs", "gcs") and before == "anonymous"))


def problem_of_data(path: str, setting: str = "data.path") -> str:
    """Why `path` can't be a `data.path`, in one line without credentials; "" if nothing is wrong with it as such."""
    scheme = scheme_of(path)
    if scheme and scheme not in DATA_SCHEMES:
        meant = {"s3a": "s3", "s3n": "s3", "wasb": "abfs", "wasbs": "abfs", "azure": "abfs"}
        return f"{setting} {redacted(path)}: {scheme}:// is none of s3://, gs://, abfs://{_hint(scheme, meant)}"
    return _problem(path, scheme, setting) if scheme else ""


def problem_of_ledger(path: str) -> str:
    """Why `path` can't be a `ledger.path`, in one line without credentials; "" if nothing is wrong with it as such."""
    if path.startswith("bundled:"):
        return f"ledger.path must be a folder or a URL like s3://bucket/folder (also gs, az), not {path}"
    scheme = scheme_of(path)
    if (scheme and scheme not in LEDGER_SCHEMES) or path.startswith("://"):
        meant = {"gcs": "gs", "s3a": "s3", "s3n": "s3"} | dict.fromkeys(
            ("abfs", "abfss", "wasb", "wasbs", "azure"), "az"
        )
        return (
            f"ledger.path must be a folder or a URL like s3://bucket/folder (also gs, az), not {redacted(path)}"
            f"{_hint(scheme, meant)}"
        )
    if scheme and (problem := _problem(path, scheme, "ledger.path")):
        return problem
    if scheme and any(sign in path for sign in "?#@"):
        # obstore would silently ignore these.
        return f"ledger.path {redacted(path)}: credentials and options go into the environment, not into the URL"
    return ""


def problem_of_address(address: str) -> str:
    """Why `address` can't be a `runtime.address`, in one line that does not repeat it; "" if it can."""
    if "@" not in address and not has_credentials(address):
        return ""
    return (
        "runtime.address: has a user, a password or a key in it; credentials go into the environment "
        "(RAY_AUTH_TOKEN), and the address is only ray://HOST:PORT or HOST:PORT"
    )


def _after_scheme(url: str) -> str:
    """What follows the scheme, also of a URL that lost a slash, as `pathlib` makes it; "" for a path."""
    return url[len(scheme_of(url)) + 1 :].lstrip("/") if scheme_of(url) else ""


def _problem(path: str, scheme: str, setting: str) -> str:
    if has_credentials(path):
        return f"{setting} {redacted(path)}: credentials and options go into the environment, not into the URL"
    if "://" not in path or not path.partition("://")[2].partition("/")[0]:
        return f"{setting} {path}: must be a folder or a URL like {scheme}://bucket/folder; this names no bucket"
    return ""


def _hint(scheme: str, meant: dict[str, str]) -> str:
    if scheme == "file":
        return "; write the path without file://"
    return f"; write {meant[scheme]}://" if scheme in meant else ""

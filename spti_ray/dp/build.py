"""The installed build. Rule held here: ledger and certificate name the code that a guarantee rests on."""

from __future__ import annotations

import hashlib
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import spti_ray

_LIBRARIES = ("opendp", "dp-accounting", "numpy")


@lru_cache(maxsize=1)
def code_version() -> str:
    """The version and the first 12 digits of a SHA-256 over the package's Python files, such as `0.1.0+3f2a…`.

    Two builds with the same text have the same source files, also where somebody edited an installed package.
    """
    root = Path(spti_ray.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(data)}\0".encode() + data)
    return f"{spti_ray.__version__}+{digest.hexdigest()[:12]}"


@lru_cache(maxsize=1)
def build() -> str:
    """`code_version` and the libraries under it, for the ledger and the certificate."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"spti-ray {code_version()}, {libraries}, python {'.'.join(map(str, sys.version_info[:3]))}"

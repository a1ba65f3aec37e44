"""Checks that `croissant.json` leads loaders to the data of its release or export, and to no others.

Its other properties, such as the licence, are what its publisher says: they may be altered and added to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from spti_ray.public.croissant import CROISSANT, CroissantDamaged, read_croissant
from spti_ray.public.croissant_data import CONTEXT
from spti_ray.public.release import MANIFEST
from spti_ray.release.checks import Check
from spti_ray.release.export.formats import data_described


def check_croissant(release: Path, table: pa.Table, format: str) -> Iterator[Check]:
    """Check the `croissant.json` of a release or an export; nothing where there is none, as in earlier versions.

    Args:
        release: Its folder.
        table: The manifest.
        format: The format of the data, a name in `spti export --format`.
    """
    field = f"release.{CROISSANT}"
    try:
        found = read_croissant(release)
    except CroissantDamaged as error:
        yield Check(field, False, str(error))
        return
    if found is None:
        return
    expected = {"@context": CONTEXT, **data_described(release, release / MANIFEST, table, format)}
    wrong = [name for name, value in expected.items() if found.get(name) != value]
    # JSON-LD has other ways to say what the data are, such as full names of properties.
    wrong += [repr(name[:80]) for name, value in found.items() if name not in expected and not _is_plain(name, value)]
    detail = f"not what the files and the manifest say: {wrong[:3]}" if wrong else "leads to the data of the manifest"
    yield Check(field, not wrong, detail)


_HEAD = {"@type": "sc:Dataset"}


def _is_plain(name: str, value: Any) -> bool:
    """Whether a property only tells something: texts, and things with a name or an address."""
    if name in _HEAD:
        return value == _HEAD[name]
    # Of live datasets loaders check no hash.
    is_known = name.removeprefix("rai:").isalnum() and name != "isLiveDataset"
    values = value if isinstance(value, list) else [value]
    return is_known and all(_is_text(one) or (isinstance(one, Mapping) and _is_thing(one)) for one in values)


def _is_thing(value: Mapping[str, Any]) -> bool:
    return value.keys() <= {"@type", "@id", "name", "url", "email", "identifier"} and all(map(_is_text, value.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))

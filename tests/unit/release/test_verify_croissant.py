"""`spti verify` on `croissant.json`: it leads to the data of the manifest, whatever else its publisher says in it."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spti_ray.dp.storage import open_chain
from spti_ray.release.export.command import export_release
from spti_ray.release.verify import verify_release
from tests.unit.release.test_verify import altered, finished, leaves

FORMATS = ("release", "parquet", "webdataset")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of a run, its release, and exports of it."""
    root = tmp_path_factory.mktemp("made")
    release = finished(root, labels=("dog", "cat", "dog"))
    for format in FORMATS[1:]:
        list(export_release(release, format, str(root / format)))
    shutil.copytree(release, root / "release")
    return root


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda format: Path(shutil.copytree(made / format, tmp_path / format))


def failures(folder: Path, made: Path) -> list[str]:
    found = [check for check in verify_release(folder, open_chain(made / "ledger", "stickers")) if not check.holds]
    assert all("\n" not in check.detail for check in found)
    return [check.field for check in found]


@pytest.mark.parametrize("format", FORMATS)
def test_it_holds_as_it_is_written_and_with_what_a_publisher_adds(copied: Any, made: Path, format: str):
    folder = copied(format)
    checked = {check.field for check in verify_release(folder, open_chain(made / "ledger", "stickers"))}
    assert "release.croissant.json" in checked and failures(folder, made) == []
    document = json.loads((folder / "croissant.json").read_text())
    document |= {
        "license": "https://spdx.org/licenses/CC0-1.0.html",
        "creator": [{"@type": "Person", "name": "A", "url": "https://a.org"}, {"@type": "Organization", "name": "B"}],
        "citeAs": "@misc{us}",
        "description": "Another.",
        "rai:dataBiases": ["one", "two"],
    }
    (folder / "croissant.json").write_text(json.dumps(document))
    assert failures(folder, made) == []


def test_no_word_of_where_the_data_are_can_be_altered_unnoticed(copied: Any, made: Path):
    folder = copied("parquet")
    document = json.loads((folder / "croissant.json").read_text())
    fields = [
        field
        for name in ("distribution", "recordSet", "@context")
        for field in leaves({name: document[name]})
        if field[0] != "@context" or field[1] in ("@vocab", "recordSet", "data")
    ]
    assert len(fields) > 40
    for field in fields[::3]:
        forged = copy.deepcopy(document)
        inner = forged
        for key in field[:-1]:
            inner = inner[key]
        inner[field[-1]] = altered(inner[field[-1]])
        (folder / "croissant.json").write_text(json.dumps(forged))
        assert failures(folder, made) == ["release.croissant.json"], field


@pytest.mark.parametrize(
    "more",
    [
        {"@graph": [{"@type": "cr:FileSet"}]},
        {"@included": []},
        {"cr:recordSet": {"@type": "cr:RecordSet", "name": "x"}},
        {"http://mlcommons.org/croissant/recordSet": "x"},
        {"hasPart": {"@type": "cr:RecordSet", "field": []}},
        {"isLiveDataset": True},
        {"@type": "sc:Thing"},
        {"distribution": []},
    ],
)
def test_other_ways_to_name_data_are_noticed(copied: Any, made: Path, more: dict[str, Any]):
    folder = copied("release")
    document = json.loads((folder / "croissant.json").read_text())
    (folder / "croissant.json").write_text(json.dumps(document | more))
    assert failures(folder, made) == ["release.croissant.json"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b"\xff", None])
def test_one_that_can_not_be_read_fails_in_a_line(copied: Any, made: Path, content: bytes | None):
    folder = copied("release")
    path = folder / "croissant.json"
    path.unlink()
    path.write_bytes(content) if content is not None else os.mkfifo(path)
    assert failures(folder, made) == ["release.croissant.json"]


def test_releases_of_earlier_versions_have_none_and_hold(copied: Any, made: Path):
    for format in FORMATS:
        folder = copied(format)
        (folder / "croissant.json").unlink()
        assert failures(folder, made) == []

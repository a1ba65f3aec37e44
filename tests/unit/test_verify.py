"""`spti verify`: from privacy.json to the proof of each field."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spti_ray.config_load import load_config
from spti_ray.dp.accounting import calibrate
from spti_ray.dp.build import build
from spti_ray.dp.certificate import certificate
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import OpenDPNoise, SeededNoise
from spti_ray.dp.storage import open_chain
from spti_ray.public.release import write_release
from spti_ray.types import Query, ReleaseItem, Votes
from spti_ray.verify import NotVerified, release_and_chain, verify_release

CONFIG = load_config(Path(__file__).parents[2] / "jobs" / "stickers.yaml", ["evolution.generations=2"])
PLAN = calibrate(2.0, 1e-5, 1, 2)
AUDITS = {"passed": True, "build": build()}


def finished(root: Path, noise: Any = None) -> Path:
    """A run folder with its ledger beside it; returns the release folder."""
    ledger = Ledger(root / "ledger", "stickers")
    ledger.register(20.0, 1e-5)
    gate = Gate(ledger, PLAN, "run-1", root / "run" / "generations", noise or OpenDPNoise(), "c0ffee")
    gate.open()
    for generation in range(2):
        reservation = gate.reserve(generation, "ab" * 32, ("g00-0", "g00-1"))
        gate.measure(reservation, [Votes(Query("run-1", generation, "ab" * 32), 0, np.array([3, 4]), 7)], 1)
    release = root / "run" / "release"
    (release / "images").mkdir(parents=True)
    items = [ReleaseItem(f"images/{i}.png", "a cat", "all", i, 1, "g01-0", None, i) for i in range(2)]
    for item in items:
        Image.fromarray(np.full((4, 4, 3), item.seed, np.uint8)).save(release / item.file)
    models = {"renderer": {"kind": "k", "model": "m", "revision": "r"}}
    write_release(release, CONFIG, items, models, certificate(ledger.entries(), "run-1", AUDITS))
    return release


def failures(release: Path) -> list[str]:
    chain = open_chain(release.parents[1] / "ledger", "stickers")
    return [check.field for check in verify_release(release, chain) if not check.holds]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("honest"))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    nested = [leaf for key, part in parts for leaf in leaves(part, (*path, key))]
    yield from nested or [path]


def altered(value: Any) -> Any:
    """Another value of the same kind, a little better-looking where it is a number."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return value * 0.999 if isinstance(value, float) else value + 1
    return [] if isinstance(value, list) and value else ["x"] if isinstance(value, list) else f"{value} or so"


def test_an_honest_release_holds_in_every_field(honest: Path):
    assert failures(honest) == []


def test_no_field_of_the_certificate_can_be_altered_unnoticed(honest: Path):
    path = honest / "privacy.json"
    text = path.read_text()
    document = json.loads(text)
    fields = list(leaves(document))
    assert len(fields) > 60
    unnoticed = []
    try:
        for field in fields:
            forged = copy.deepcopy(document)
            inner = forged
            for key in field[:-1]:
                inner = inner[key]
            inner[field[-1]] = altered(inner[field[-1]])
            path.write_text(json.dumps(forged))
            try:
                if not failures(honest):
                    unnoticed.append(field)
            except (LedgerError, NotVerified):
                pass
    finally:
        path.write_text(text)
    # Who wrote it says which code's words to compare with; it is no claim about the data.
    assert unnoticed == [("written_by",)]


def test_a_field_that_was_added_or_removed_is_noticed(honest: Path):
    path = honest / "privacy.json"
    text = path.read_text()
    try:
        document = json.loads(text)
        path.write_text(json.dumps(document | {"blessed_by": "nobody"}))
        assert failures(honest) == ["blessed_by"]
        del document["replace_one_epsilon"]
        path.write_text(json.dumps(document))
        assert failures(honest) == ["replace_one_epsilon"]
    finally:
        path.write_text(text)


def test_an_altered_added_or_missing_file_is_noticed(tmp_path: Path):
    release = finished(tmp_path)
    image = release / "images" / "0.png"
    data = image.read_bytes()
    image.write_bytes(data + b"x")
    assert failures(release) == ["release.images on disk"]
    image.unlink()
    assert failures(release) == ["release.images on disk"]
    image.write_bytes(data)
    (release / "images" / "smuggled.png").write_bytes(data)
    assert failures(release) == ["release.images on disk"]
    (release / "images" / "smuggled.png").unlink()
    (release / "manifest.parquet").write_bytes((release / "manifest.parquet").read_bytes().replace(b"a cat", b"a dog"))
    assert "release.manifest_sha256" in failures(release)


def test_a_histogram_that_is_not_the_committed_one_is_noticed(tmp_path: Path):
    release = finished(tmp_path)
    (path,) = (release.parent / "generations" / "00").glob("*.arrow")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert failures(release) == ["histogram of generation 0"]


def test_a_ledger_that_was_cut_back_or_is_another_is_refused(tmp_path: Path):
    release = finished(tmp_path)
    ledger = tmp_path / "ledger" / "stickers.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(LedgerError, match="cut back or replaced"):
        failures(release)


def test_a_release_without_certificate_or_of_another_format_is_not_verified(tmp_path: Path):
    release = finished(tmp_path / "simulated", SeededNoise(0))
    with pytest.raises(NotVerified, match="nothing is guaranteed"):
        failures(release)
    (release / "privacy.json").write_text('{"format": "something else"}')
    with pytest.raises(NotVerified, match="format"):
        failures(release)


def test_later_runs_on_the_dataset_do_not_spoil_an_earlier_certificate(tmp_path: Path):
    release = finished(tmp_path)
    Ledger(tmp_path / "ledger", "stickers").open_run("run-2", PLAN, "c", "n", True).reserve(0, "ab", 2, "v")
    assert failures(release) == []


def test_the_ledger_may_be_named_by_its_folder_its_file_or_a_url(tmp_path: Path, s3: Any):
    release = finished(tmp_path)
    Ledger(tmp_path / "ledger", "another").register(1.0, 1e-5)
    url = s3.new_url()
    for dataset in ("another", "stickers", "zebras"):
        source, copy_ = open_chain(tmp_path / "ledger", dataset), open_chain(url, dataset)
        for entry in source.read().entries:
            copy_.append(lambda _, event=entry.event: event)
    for name in (tmp_path / "ledger", tmp_path / "ledger" / "stickers.jsonl"):
        chain = release_and_chain(release, str(name))[1]
        assert chain.location == str(tmp_path / "ledger" / "stickers.jsonl")
    for name in (url, f"{url}/stickers"):
        assert release_and_chain(release, name)[1].read().entries[0].event == chain.read().entries[0].event
    with pytest.raises(LedgerError, match="no ledger here"):
        release_and_chain(release, str(tmp_path / "nowhere"))
    with pytest.raises(NotVerified, match="name the dataset's ledger"):
        release_and_chain(release, None)


def test_an_audit_that_failed_or_was_of_another_build_is_told(tmp_path: Path):
    release = finished(tmp_path)
    path = release / "privacy.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"audits": {"passed": False, "build": "spti-ray 0"}}))
    assert failures(release) == ["audits", "audits.build"]

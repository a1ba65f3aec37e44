"""`spti verify`: from privacy.json to the proof of each field."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.config.loading import ConfigError, load_config
from spti_ray.dp.accounting import ACCOUNTANT
from spti_ray.dp.build import build
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.certificate import certificate
from spti_ray.dp.certificate_2 import certificate_2
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import OpenDPNoise, SeededNoise
from spti_ray.dp.storage import open_chain
from spti_ray.evaluate.image_sets import release_images
from spti_ray.figures import EARLIER_DIGITS
from spti_ray.public.release import write_release
from spti_ray.public.released_files import ManifestDamaged
from spti_ray.release.checks import NotVerified
from spti_ray.release.compare import compare_releases
from spti_ray.release.export.released import NotExported, read_release
from spti_ray.release.report.data import read_run as read_run_data
from spti_ray.release.verify import release_and_chain, verify_release
from spti_ray.types import ReleaseItem
from spti_ray.votes import Query, Votes

CONFIG = load_config(Path(__file__).parents[3] / "jobs" / "stickers.yaml", ["evolution.generations=2"])
PLAN = calibrate(2.0, 1e-5, 1, 2)
AUDITS = {"passed": True, "build": build()}


def finished(root: Path, noise: Any = None, labels: tuple[str, ...] = ("all", "all")) -> Path:
    """A run folder with its ledger beside it and an image of each of the labels; returns the release folder."""
    ledger = Ledger(root / "ledger", "stickers")
    ledger.register(20.0, 1e-5)
    gate = Gate(ledger, PLAN, "run-1", root / "run" / "generations", noise or OpenDPNoise(), "c0ffee")
    gate.open()
    for generation in range(2):
        reservation = gate.reserve(generation, "ab" * 32, ("g00-0", "g00-1"))
        gate.measure(reservation, [Votes(Query("run-1", generation, "ab" * 32), 0, np.array([3, 4]), 7)], 1)
    release = root / "run" / "release"
    (release / "images").mkdir(parents=True)
    items = [ReleaseItem(f"images/{i}.png", "a cat", label, i, 1, "g01-0", None, i) for i, label in enumerate(labels)]
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


def test_a_certificate_in_the_words_and_with_the_digits_of_earlier_builds_holds(honest, tmp_path):
    """Those that were published before: fewer digits, and no word of when it was."""
    release = shutil.copytree(honest.parents[1], tmp_path / "x") / "run" / "release"
    path, entries = release / "privacy.json", Ledger(tmp_path / "x" / "ledger", "stickers").entries()
    now = json.loads(path.read_text())
    earlier = certificate(entries, "run-1", AUDITS, ACCOUNTANT, EARLIER_DIGITS)
    assert earlier is not None and earlier["tuning"]["in_words"].startswith("As of the ledger head")
    words = earlier["tuning"]["in_words"].partition("): ")[2]
    assert words.startswith("1 run(s)") and words not in now["tuning"]["in_words"]
    for said, failed in ((words, []), ("x" + words, ["tuning.in_words"])):
        earlier["tuning"]["in_words"] = said
        path.write_text(json.dumps(earlier | {"release": now["release"]}))
        assert failures(release) == failed


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


def forged(honest: Path, root: Path, text: str) -> Path:
    """A copy of the release whose certificate is `text`, with the same ledger."""
    shutil.copytree(honest.parents[1], root, dirs_exist_ok=True)
    release = root / "run" / "release"
    (release / "privacy.json").write_text(text)
    return release


@pytest.mark.parametrize("other", ["", "mechanism.sigma", "dataset.lifetime_epsilon_spent"])
def test_a_true_figure_under_another_spelling_of_a_field_hides_no_false_one(honest: Path, tmp_path: Path, other: str):
    document = json.loads((honest / "privacy.json").read_text())
    if other:
        top, name = other.split(".")
        document[other], document[top][name] = document[top][name], 0.001
        false = other
    else:
        document[""], document["epsilon"] = {"epsilon": document["epsilon"]}, 0.1
        false = "epsilon"
    assert false in failures(forged(honest, tmp_path, json.dumps(document)))


def test_a_list_is_not_proved_by_an_object_of_its_numbers(honest: Path, tmp_path: Path):
    document = json.loads((honest / "privacy.json").read_text())
    document["noise"]["builds"] = {str(i): build for i, build in enumerate(document["noise"]["builds"])}
    assert failures(forged(honest, tmp_path, json.dumps(document)))


def test_a_certificate_that_has_a_field_twice_is_not_read(honest: Path, tmp_path: Path):
    text = (honest / "privacy.json").read_text().replace("{", '{"epsilon": 0.1,', 1)
    assert json.loads(text)["epsilon"] == 2.0
    with pytest.raises(NotVerified, match="can't be read as JSON"):
        failures(forged(honest, tmp_path, text))


def test_an_image_beside_those_of_the_manifest_is_noticed(honest: Path, tmp_path: Path):
    for name in ("extra.png", "more/extra.JPG"):
        release = forged(honest, tmp_path / name[:4], (honest / "privacy.json").read_text())
        (release / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(release / name)
        assert failures(release) == ["release.images on disk"]


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


def test_a_certificate_of_format_2_is_proved_by_its_own_rules_and_by_no_other_ledger(tmp_path: Path, monkeypatch):
    """The ledger that an earlier build wrote names no accountant; one that this build writes can have no format 2."""
    release = finished(tmp_path)
    entries = Ledger(tmp_path / "ledger", "stickers").entries()
    document = certificate_2(entries, "run-1", AUDITS)
    assert document is not None
    rewrite(release, document)
    assert "format" in failures(release), "a figure of accountant 1 would pass"
    monkeypatch.setattr("spti_ray.dp.ledger.ACCOUNTANT", 1)
    old = finished(tmp_path / "old")
    document = certificate_2(Ledger(tmp_path / "old" / "ledger", "stickers").entries(), "run-1", AUDITS)
    assert document is not None and document["format"].endswith("2")
    rewrite(old, document)
    assert failures(old) == []
    rewrite(old, document | {"epsilon": 1.9})
    assert failures(old) == ["epsilon"]


def rewrite(release: Path, document: dict[str, Any]) -> None:
    known = json.loads((release / "privacy.json").read_text())
    (release / "privacy.json").write_text(json.dumps(document | {"release": known["release"]}))


def test_an_accountant_that_the_ledger_is_ahead_of_is_not_believed(honest: Path, tmp_path: Path):
    release = copied(honest, tmp_path)
    for named in (1, 0, -3, 99, "2", None, 2.5, True):
        known = json.loads((release / "privacy.json").read_text())
        rewrite(release, known | {"accountant": named})
        assert "accountant" in failures(release)
        rewrite(release, known)


JUNK = [b"", b"no parquet", b"PAR1" + bytes(40) + b"PAR1", b"\xff" * 100]


@pytest.mark.parametrize("content", JUNK)
def test_a_junk_manifest_is_one_line(honest: Path, tmp_path: Path, content: bytes):
    release = copied(honest, tmp_path)
    (release / "manifest.parquet").write_bytes(content)
    found = junk_lines(release)
    assert len(found) == 1 and "manifest.parquet: can't be read as Parquet" in found[0]


def copied(honest: Path, root: Path) -> Path:
    shutil.copytree(honest.parents[1], root, dirs_exist_ok=True)
    return root / "run" / "release"


def junk_lines(release: Path) -> list[str]:
    chain = open_chain(release.parents[1] / "ledger", "stickers")
    found = [check for check in verify_release(release, chain) if not check.holds]
    assert all("\n" not in check.detail for check in found)
    return [f"{check.field}: {check.detail}" for check in found]


@pytest.mark.parametrize("column", ["file", "sha256", "text", "label"])
@pytest.mark.parametrize("change", ["missing", "null", "numbers"])
def test_a_manifest_without_a_column_is_one_line(honest: Path, tmp_path: Path, column: str, change: str):
    release = copied(honest, tmp_path)
    table = pq.read_table(release / "manifest.parquet")
    other = {"null": pa.nulls(len(table), pa.string()), "numbers": pa.array(range(len(table)))}
    at = table.column_names.index(column)
    table = table.remove_column(at) if change == "missing" else table.set_column(at, column, other[change])
    pq.write_table(table, release / "manifest.parquet")
    assert len([line for line in junk_lines(release) if f"column {column}" in line]) == 1


@pytest.mark.parametrize(
    "name", ["../../secret.png", "images/../../secret.png", "{root}/secret.png", "images/link.png"]
)
def test_images_outside_of_the_release_are_refused_unread(honest: Path, tmp_path: Path, name: str, monkeypatch):
    release = copied(honest, tmp_path)
    secret = tmp_path / "secret.png"
    secret.write_bytes((release / "images" / "0.png").read_bytes())
    (release / "images" / "link.png").symlink_to(secret)
    table = pq.read_table(release / "manifest.parquet")
    files = [name.replace("{root}", str(tmp_path)), *table["file"].to_pylist()[1:]]
    pq.write_table(table.set_column(0, "file", pa.array(files)), release / "manifest.parquet")

    def never(path: Path) -> bytes:
        assert path.resolve() != secret, "read from outside of the release"
        return path.read_bytes()

    monkeypatch.setattr("spti_ray.release.verify_files._content_of", never)
    assert any("is none of the release's images" in line for line in junk_lines(release))
    # The same in all others that read what a manifest names.
    with pytest.raises(NotExported, match="none of a release"):
        read_release(release)
    with pytest.raises(ManifestDamaged, match="none of the release's images"):
        compare_releases(release, release)
    (release.parent / "run.yaml").write_text("run: x\nconfig: {}\n")
    with pytest.raises(ManifestDamaged, match="none of the release's images"):
        read_run_data(release.parent)
    if name != "images/../../secret.png":
        with pytest.raises(ConfigError, match="none of the release's images"):
            release_images(release)


def test_metadata_that_name_other_files_or_texts_are_noticed(honest: Path, tmp_path: Path):
    release = copied(honest, tmp_path)
    path = release / "metadata.jsonl"
    lines = path.read_text().splitlines()
    assert junk_lines(release) == []
    for altered_lines in (
        [lines[0].replace("images/0.png", "../../secret.png"), lines[1]],
        [lines[0].replace("a cat", "a dog"), lines[1]],
        lines[:1],
        [*lines, lines[0]],
        [*lines, "[" * 100_000],
        [*lines, "no json"],
    ):
        path.write_text("\n".join(altered_lines))
        assert [line.split(":")[0] for line in junk_lines(release)] == ["release.metadata.jsonl"]
    path.write_bytes(b"\xff\xfe")
    assert junk_lines(release) == ["release.metadata.jsonl: can't be read"]
    path.unlink()
    assert junk_lines(release) == []


def test_missing_folders_and_junk_certificates_are_one_line(honest: Path, tmp_path: Path):
    release = copied(honest, tmp_path)
    shutil.rmtree(release / "images")
    assert [line.split(":")[0] for line in junk_lines(release)] == ["release.images on disk"]
    with pytest.raises(ConfigError, match="no such folder; name a run's folder"):
        release_and_chain(tmp_path / "nothing", None)
    with pytest.raises(ConfigError, match="is a file; name a run's folder"):
        release_and_chain(release / "privacy.json", None)
    for content in (b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"format": ' + b"[" * 300 + b"]" * 300 + b"}"):
        (release / "privacy.json").write_bytes(content)
        with pytest.raises(NotVerified, match=r"^[^\n]+$"):
            release_and_chain(release.parent, str(tmp_path / "ledger"))


@pytest.mark.parametrize("field", ["noise", "release", "audits", "mechanism", "dataset", "tuning"])
@pytest.mark.parametrize("junk", [None, [], "x", 10**400, {"builds": 5}])
def test_a_field_of_another_kind_fails_its_check_and_nothing_else(honest: Path, tmp_path: Path, field: str, junk: Any):
    release = copied(honest, tmp_path)
    document = json.loads((release / "privacy.json").read_text())
    if field == "audits" and junk == "x":
        return  # in words: none were run
    (release / "privacy.json").write_text(json.dumps(document | {field: junk}))
    assert any(line.startswith(field) for line in junk_lines(release))

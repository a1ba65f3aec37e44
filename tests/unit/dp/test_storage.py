"""Which kind of chain a location means, and which chains it holds."""

from pathlib import Path

import pytest

from spti_ray.dp.chain import LedgerError
from spti_ray.dp.file_chain import FileChain
from spti_ray.dp.object_chain import ObjectChain
from spti_ray.dp.storage import NoSuchLedger, chains_at, open_chain
from spti_ray.io.files import is_url
from tests.unit.dp.books import EVENTS, Book, append_all, chain_in


@pytest.mark.parametrize(
    ("location", "url"),
    [("s3://bucket/x", True), ("gs://bucket", True), ("ledger", False), ("/a/b", False), (Path("a"), False)],
)
def test_a_url_is_told_from_a_path(location: str | Path, url: bool):
    assert is_url(location) == url


def test_a_location_decides_on_the_kind_of_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    file, objects = open_chain(tmp_path, "ds"), open_chain("s3://bucket/ledgers", "ds")
    assert isinstance(file, FileChain) and file.location == f"{tmp_path}/ds.jsonl"
    assert isinstance(objects, ObjectChain) and objects.location == "s3://bucket/ledgers/ds"


def test_opening_a_chain_makes_nothing(book: Book):
    chain_in(book)
    assert book.lines() == [] and not (isinstance(book.location, Path) and book.location.exists())


def test_all_chains_of_a_place_are_found_and_each_by_its_own_location(book: Book):
    for dataset in ("b", "a", "c.d"):
        append_all(open_chain(book.location, dataset), EVENTS[:2])
    found = chains_at(book.location)
    assert [chain.location for chain in found] == [open_chain(book.location, d).location for d in ("a", "b", "c.d")]
    (one,) = chains_at(found[1].location)
    assert one.location == found[1].location and len(one.read().entries) == 2


def test_a_place_without_ledgers_is_one_line(book: Book):
    with pytest.raises(NoSuchLedger, match="no ledger here; name a folder of ledgers, a .jsonl file or a URL$"):
        chains_at(book.location)
    assert issubclass(NoSuchLedger, LedgerError)


def test_a_file_that_is_no_ledger_is_told_and_one_that_is_may_have_any_name(tmp_path: Path):
    (tmp_path / "my.yaml").write_text("data: {}\n")
    with pytest.raises(
        NoSuchLedger, match=r"my.yaml: is a file and no ledger; name a folder of ledgers, a .jsonl file"
    ):
        chains_at(tmp_path / "my.yaml")
    (tmp_path / "copy").write_text('{"seq": 0}\n')
    assert [chain.location for chain in chains_at(tmp_path / "copy")] == [str(tmp_path / "copy")]

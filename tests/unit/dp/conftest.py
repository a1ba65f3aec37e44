"""Every promise of a ledger is tested in a local folder and in a bucket."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.store import MemoryStore, ObjectStore

from spti_ray.dp import object_store
from tests.s3 import S3Server
from tests.unit.dp import buckets
from tests.unit.dp.bench import Bench
from tests.unit.dp.books import Book, FileBook, ObjectBook


@pytest.fixture(params=["file", "bucket"])
def book(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    """A place for the chain of one dataset, with nothing in it."""
    if request.param == "file":
        return FileBook(tmp_path / "ledger")
    monkeypatch.setenv(buckets.FOLDER, str(tmp_path / "buckets"))
    monkeypatch.setattr(object_store, "from_url", buckets.open_bucket)
    return ObjectBook("s3://bucket/ledgers")


@pytest.fixture
def bucket(s3: S3Server) -> ObjectBook:
    return ObjectBook(s3.new_url())


@pytest.fixture
def memory() -> ObjectStore:
    """A bucket in this process."""
    return MemoryStore()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries, of which the client makes two."""
    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=2)}
    retry = {"max_retries": 1, "retry_timeout": timedelta(seconds=5), "backoff": backoff}
    monkeypatch.setattr("spti_ray.dp.object_chain._PAUSE_S", 0.0)
    monkeypatch.setattr("spti_ray.dp.object_store._RETRY", retry)


@pytest.fixture
def place(book: Book) -> str | Path:
    """Where ledgers are kept: a folder, or a URL."""
    return book.location


@pytest.fixture
def bench(tmp_path: Path, place: str | Path) -> Bench:
    """A run with its ledger."""
    return Bench(tmp_path, place)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What a charge costs is not at issue here, nor which versions are installed, nor how long to wait for a retry."""

    def cost(terms: Sequence[tuple[float, int]], delta: float) -> float:
        return float(sum(count for _, count in terms))

    for module in ("spti_ray.dp.budget", "spti_ray.dp.odometer"):
        monkeypatch.setattr(f"{module}.lifetime_epsilon", cost)
    monkeypatch.setattr("spti_ray.dp.gate.build", lambda: "")
    monkeypatch.setattr("spti_ray.dp.object_chain._PAUSE_S", 0.0)
    return monkeypatch

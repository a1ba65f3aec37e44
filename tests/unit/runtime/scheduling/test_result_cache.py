"""Results of public batches that a later attempt of the run finds again."""

import errno
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.runtime.scheduling.result_cache import ResultCache
from spti_ray.runtime.scheduling.result_log import ResultLog
from spti_ray.types import Completions, ImageLost, RenderBatch, WriteRequest

ASKED = ([WriteRequest("a red", 2, 7, 16), WriteRequest("a green", 1, 8, 16)],)
WRITTEN = [Completions(("apple", "pear\u2028"), 5), Completions((), 0)]
JOBS = (RenderBatch(("a cat", "a dog"), (2**62 + 1, 3)),)
DRAWN = [b"one image\0", b"another"]


def cache(tmp_path, context: str = "one") -> ResultCache:
    return ResultCache(tmp_path / "units", context)


def test_what_was_put_is_found_by_the_next_attempt_and_is_the_same(tmp_path):
    first = cache(tmp_path)
    first.entry("writer", ASKED).put(WRITTEN)
    first.entry("renderer", JOBS).put(DRAWN)
    first.settle()
    again = cache(tmp_path)  # The first was killed: nothing closed it.
    assert again.entry("writer", ASKED).get() == WRITTEN
    assert again.entry("renderer", JOBS).get() == DRAWN


def test_nothing_is_found_for_other_arguments_another_role_or_another_context(tmp_path):
    results = cache(tmp_path)
    results.entry("writer", ASKED).put(WRITTEN)
    results.entry("renderer", JOBS).put(DRAWN)
    results.settle()
    assert results.entry("writer", (ASKED[0][:1],)).get() is None
    assert results.entry("renderer", (replace(JOBS[0], seeds=(2**62, 3)),)).get() is None
    assert cache(tmp_path, "two").entry("writer", ASKED).get() is None


def test_batches_of_earlier_generations_are_dropped_and_those_of_this_one_stay(tmp_path):
    results = cache(tmp_path)
    results.begin(3)
    results.entry("writer", ASKED).put(WRITTEN)
    results.begin(3)
    results.settle()
    assert cache(tmp_path).entry("writer", ASKED).get() == WRITTEN
    results.begin(4)
    results.settle()
    assert cache(tmp_path).entry("writer", ASKED).get() is None
    assert results.entry("writer", ASKED).get() is None


def test_the_folder_is_the_owners_and_goes_away_with_the_run(tmp_path):
    results = cache(tmp_path)
    results.entry("writer", ASKED).put(WRITTEN)
    results.settle()
    assert (tmp_path / "units").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "units").glob("*.log")} == {0o600}
    results.remove()
    assert not list(tmp_path.iterdir())


def test_the_drivers_thread_writes_nothing(tmp_path, monkeypatch):
    """Neither what it puts, nor what it deletes; and an image that lies elsewhere is not fetched by it."""
    threads = set()

    def noted(method):
        return lambda *arguments: threads.add(threading.current_thread().name) or method(*arguments)

    for name in ("put", "keep_from"):
        monkeypatch.setattr(ResultLog, name, noted(getattr(ResultLog, name)))

    class Elsewhere:
        num_bytes = 5
        read = noted(lambda self: memoryview(b"a png"))

    results = cache(tmp_path)
    results.begin(1)
    results.entry("renderer", JOBS).put([Elsewhere(), None])
    results.settle()
    assert results.entry("renderer", JOBS).get() == [b"a png", None]
    assert threads == {"kept results"}


def test_images_that_were_lost_with_their_machine_are_not_kept_and_nothing_fails(tmp_path):
    class Lost:
        num_bytes = 5

        def read(self):
            raise ImageLost

    results = cache(tmp_path)
    results.entry("renderer", JOBS).put([Lost(), b"there"])
    results.entry("writer", ASKED).put(WRITTEN)
    results.settle()
    assert results.entry("renderer", JOBS).get() is None
    assert results.entry("writer", ASKED).get() == WRITTEN


def test_a_full_disk_stops_the_keeping_and_not_the_run(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    results = cache(tmp_path)
    monkeypatch.setattr(ResultLog, "put", full)
    results.entry("writer", ASKED).put(WRITTEN)
    results.settle()
    assert results.entry("writer", ASKED).get() is None and "results are not kept" in caplog.text


@given(st.lists(st.tuples(st.lists(st.text(), max_size=3), st.integers(0, 99)), min_size=1, max_size=3))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, answers):
    results = cache(tmp_path_factory.mktemp("kept"))
    result = [Completions(tuple(texts), tokens) for texts, tokens in answers]
    results.entry("writer", ASKED).put(result)
    results.settle()
    assert results.entry("writer", ASKED).get() == result
    results.close()


def test_variations_of_other_images_are_other_batches(tmp_path):
    results = cache(tmp_path)
    batch = RenderBatch(("a cat",), (3,), (b"one png",), 0.5)
    results.entry("renderer", (batch,)).put(DRAWN[1:])
    results.settle()
    assert results.entry("renderer", (replace(batch),)).get() == DRAWN[1:]
    for other in (replace(batch, images=(b"another",)), replace(batch, strength=0.6)):
        assert results.entry("renderer", (other,)).get() is None


def test_a_batch_that_mostly_failed_is_asked_for_again_by_the_next_attempt(tmp_path):
    results = cache(tmp_path)
    refused = Completions(("",), problem="answered 400")
    results.entry("writer", ASKED).put([refused, refused])
    results.entry("renderer", JOBS).put([None, None])
    results.settle()
    assert results.entry("writer", ASKED).get() is None and results.entry("renderer", JOBS).get() is None
    results.entry("writer", ASKED).put([Completions(("an apple",)), refused])
    results.entry("renderer", JOBS).put([b"one", None])
    results.settle()
    assert [answer.texts for answer in results.entry("writer", ASKED).get()] == [("an apple",), ("",)]
    assert results.entry("renderer", JOBS).get() == [b"one", None]


def test_what_the_writer_cost_is_added_up_over_generations_attempts_and_answers_of_no_use(tmp_path):
    priced = [Completions(("apple", "pear"), 5, 0.25, truncated=(True, False)), Completions(("",), 2, 0.5, "refused")]
    results = cache(tmp_path)
    results.entry("writer", ASKED).put(priced)
    results.entry("renderer", JOBS).put(DRAWN)
    results.settle()
    assert results.entry("writer", ASKED).get() == [priced[0], Completions(("",), 2, 0.5)]
    results.begin(1)
    results.settle()
    (paid,) = (tmp_path / "units").glob("paid-*")
    with paid.open("a") as lines:
        lines.write("[3")  # It was killed over the next line.
    again = cache(tmp_path)
    again.entry("writer", ASKED).put([Completions(("",), 30, 1.0, "refused")])
    assert again.entry("writer", ASKED).get() is None and again.total_cost() == (37, 1.75)


def earlier(tmp_path, rows) -> None:
    """The file in which earlier builds kept results."""
    with closing(sqlite3.connect(tmp_path / "units.sqlite", isolation_level=None)) as database:
        database.execute("CREATE TABLE units (key TEXT PRIMARY KEY, generation INTEGER NOT NULL, result BLOB NOT NULL)")
        database.execute("CREATE TABLE paid (tokens INTEGER NOT NULL, dollars REAL NOT NULL)")
        database.executemany("INSERT INTO units VALUES (?, 0, ?)", rows)
        database.execute("INSERT INTO paid VALUES (4, 0.5)")


def test_what_an_earlier_build_has_kept_in_its_file_is_taken_over_once(tmp_path):
    keys = cache(tmp_path)
    images = pa.record_batch([pa.array([b"one", None], pa.binary())], ["png"])
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, images.schema) as stream:
        stream.write_batch(images)
    rows = [
        (keys.entry("writer", ASKED)._key, b'[[["a kite"], 4]]'),
        (keys.entry("renderer", JOBS)._key, buffer.getvalue().to_pybytes()),
    ]
    earlier(tmp_path, rows)
    for results in (cache(tmp_path), cache(tmp_path)):
        assert results.entry("writer", ASKED).get() == [Completions(("a kite",), 4)]
        assert results.entry("renderer", JOBS).get() == [b"one", None]
        assert results.total_cost() == (4, 0.5) and not (tmp_path / "units.sqlite").exists()
    # One that was killed between the copy and the deletion has paid once.
    earlier(tmp_path, rows)
    assert cache(tmp_path).total_cost() == (4, 0.5)


def test_a_damaged_file_of_an_earlier_build_is_left_out(tmp_path):
    (tmp_path / "units.sqlite").write_bytes(b"no database" * 100)
    results = cache(tmp_path)
    assert results.entry("writer", ASKED).get() is None and not (tmp_path / "units.sqlite").exists()


@pytest.mark.parametrize(
    ("role", "batch", "key"),
    [
        (
            "writer",
            [WriteRequest("a red", 2, 7, 16), WriteRequest("a gr\u00fcn", 1, 8, 16, 0.75, 0.9, ("\n", "."))],
            "79b549c23628aaf75e57b5df5098d99c1051ee6623703965c60e46410d964afc",
        ),
        (
            "renderer",
            RenderBatch(("a cat", "a dog"), (2**62 + 1, 3)),
            "419a91b1017fe8729aa027c6921cdb0a242023b108cf90195c686433cff88a7d",
        ),
        (
            "renderer",
            RenderBatch(("a cat", "a dog"), (3, 4), (b"one png", b"another"), 0.6),
            "8e958c498a06661bb638d1ce7e8f60fd827df78d9e11e09bf3ef18816ee5887f",
        ),
    ],
    ids=["texts", "images", "variations"],
)
def test_the_keys_of_batches_are_those_of_earlier_builds(tmp_path, role, batch, key):
    """Or a run that another build was interrupted at would write and render again what is there."""
    assert cache(tmp_path, "0.2.0 abc").entry(role, (batch,))._key == key

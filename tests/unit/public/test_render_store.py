"""Renders on disk behave like a dict of them, and what nobody wants takes no room for long."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.public import render_store as module
from spti_ray.public.render_store import RenderStore
from spti_ray.types import ImageLost, RenderedImage


def render(candidate_id: str, png: bytes, seed: int = 7) -> RenderedImage:
    return RenderedImage(candidate_id, 0, seed, png)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.binary(max_size=40)), max_size=40))
def test_it_is_a_mapping_whatever_is_put_replaced_and_deleted(folder, steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_COMPACT_FROM_BYTES", 20)
        store, plain = RenderStore(folder), {}
        for i, (key, png) in enumerate(steps):
            if png is None:
                assert (key in store) == (key in plain)
                if key in plain:
                    del store[key], plain[key]
            else:
                store[key] = plain[key] = render(key, png, seed=2**62 + i)
            assert dict(store) == plain and len(store) == len(plain)
    assert list(folder.iterdir()) == [], "the file has no name"


def test_the_file_shrinks_when_most_of_it_is_unwanted(folder, monkeypatch):
    monkeypatch.setattr(module, "_COMPACT_FROM_BYTES", 1000)
    store = RenderStore(folder)
    for i in range(10):
        store[str(i)] = render(str(i), bytes([i]) * 1000)
    for i in range(9):
        del store[str(i)]
    store._settle()
    assert os.fstat(store._file.fileno()).st_size <= 2000
    assert store["9"].png == bytes([9]) * 1000


def test_a_render_under_a_wrong_name_and_one_that_is_not_there_are_refused(folder):
    store = RenderStore(folder)
    with pytest.raises(ValueError, match="not one of b"):
        store["b"] = render("a", b"")
    with pytest.raises(KeyError):
        del store["b"]


def test_a_render_is_read_and_written_on_the_stores_own_thread_and_one_that_was_lost_is_not_there(folder):
    threads = set()

    class Elsewhere:
        num_bytes = 3

        def __init__(self, lost: bool) -> None:
            self.lost = lost

        def read(self):
            threads.add(threading.current_thread().name)
            if self.lost:
                raise ImageLost
            return memoryview(b"png")

    store = RenderStore(folder)
    for name, lost in (("a", False), ("b", True), ("c", False)):
        store[name] = render(name, Elsewhere(lost))
    assert list(store) == ["a", "c"] and store.get("b") is None
    assert [store[name].png for name in store] == [b"png", b"png"]
    assert threads == {"renders"}

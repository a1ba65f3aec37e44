"""What only a chain in a bucket goes through: its layout and cost, and objects that were tampered with."""

import re

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore, ObjectStore

from spti_ray.dp.chain import LedgerError
from spti_ray.dp.entries import Burned
from spti_ray.dp.object_chain import chains_under
from spti_ray.dp.storage import NoSuchLedger, chains_at, open_chain
from tests.s3 import S3Server
from tests.unit.dp.books import EVENTS, OURS, ObjectBook, append_all, chain_of, lines_of


def write(store: ObjectStore, lines: list[bytes]) -> None:
    for seq, line in enumerate(lines):
        obstore.put(store, f"ds/{seq:012d}.json", line)


def test_each_entry_is_one_object_with_its_line(bucket: ObjectBook):
    append_all(chain := open_chain(bucket.location, "ds"), EVENTS)
    assert bucket.names() == [f"ds/{seq:012d}.json" for seq in range(len(EVENTS))]
    assert all(not line.endswith(b"\n") for line in bucket.lines())
    assert chain.location == f"{bucket.location}/ds"


def test_an_append_costs_a_list_and_a_put_and_a_read_a_list(s3: S3Server, bucket: ObjectBook):
    append_all(open_chain(bucket.location, "ds"), EVENTS[:4])

    def kinds() -> list[str]:
        return [
            "LIST" if method == "GET" and not path.endswith(".json") else method
            for method, path in (line.split(" ") for line in s3.seen())
        ]

    kinds()
    chain = open_chain(bucket.location, "ds")
    chain.read()
    assert kinds() == ["LIST", *["GET"] * 4], "the first read fetches each entry"
    chain.read()
    assert kinds() == ["LIST"]
    append_all(chain, EVENTS[4:5])
    assert kinds() == ["LIST", "PUT", "PUT"], "the first append also tries whether the store refuses a second object"
    append_all(chain, EVENTS[5:6])
    assert kinds() == ["LIST", "PUT"]
    chain.read()
    assert kinds() == ["LIST"], "what it wrote itself it need not fetch"


def test_a_long_chain_is_read_with_many_requests_at_once(memory: ObjectStore):
    write(memory, lines_of([Burned("r", i, i, "x") for i in range(2500)]))  # more than two pages of names
    chain = chain_of(memory)
    assert [entry.seq for entry in chain.read().entries] == list(range(2500))
    assert len(chain.append(lambda _: OURS)) == 2501


def test_consoles_folder_objects_are_no_entries(s3: S3Server, bucket: ObjectBook):
    path = str(bucket.location).removeprefix("s3:/")
    for folder in ("/", "/ds/"):
        s3.request("PUT", path + folder, b"")
    chain = open_chain(bucket.location, "ds")
    append_all(chain, EVENTS)
    assert [entry.event for entry in open_chain(bucket.location, "ds").read().entries] == EVENTS
    assert [chain.location for chain in chains_at(bucket.location)] == [f"{bucket.location}/ds"]


def test_all_datasets_under_a_url_are_found_and_nothing_else(bucket: ObjectBook):
    with pytest.raises(NoSuchLedger, match="no ledger here"):
        chains_at(bucket.location)
    for dataset in ("one", "two", "two-b"):
        append_all(open_chain(bucket.location, dataset), EVENTS[:2])
    obstore.put(bucket.store, "pictures/cat.png", b"png")
    obstore.put(bucket.store, "readme.txt", b"hello")
    found = chains_under(f"{bucket.location}/")
    assert [chain.location for chain in found] == [f"{bucket.location}/{d}" for d in ("one", "two", "two-b")]
    (two,) = chains_under(f"{bucket.location}/two")
    assert two.location == f"{bucket.location}/two" and len(two.read().entries) == 2
    assert len(two.append(lambda _: OURS)) == len(found[1].read().entries) == 3


def test_a_chain_that_lost_its_first_entry_is_still_found_and_refused(bucket: ObjectBook):
    append_all(open_chain(bucket.location, "ds"), EVENTS)
    obstore.delete(bucket.store, "ds/000000000000.json")
    for url in (bucket.location, f"{bucket.location}/ds"):
        (chain,) = chains_under(str(url))
        with pytest.raises(LedgerError, match=r"ds/000000000000\.json is missing; restore it from a copy"):
            chain.read()


def test_a_missing_object_is_named(bucket: ObjectBook):
    append_all(chain := open_chain(bucket.location, "ds"), EVENTS)
    obstore.delete(bucket.store, "ds/000000000003.json")
    for read in (chain.read, open_chain(bucket.location, "ds").read):
        with pytest.raises(LedgerError, match=r"ds/000000000003\.json is missing; restore it from a copy"):
            read()


@pytest.mark.parametrize(
    "name",
    ["ds/notes.txt", "ds/3.json", "ds/000000000001.json.bak", "ds/sub/000000000006.json", "ds/0000000000007.json"],
)
def test_an_object_that_is_no_entry_is_named(bucket: ObjectBook, name: str):
    append_all(chain := open_chain(bucket.location, "ds"), EVENTS)
    obstore.put(bucket.store, name, b"hello")
    for use in (chain.read, lambda: chain.append(lambda _: OURS)):
        with pytest.raises(LedgerError, match=f"foreign object '{re.escape(name)}': move it elsewhere"):
            use()


def test_a_name_that_the_library_cant_take_is_one_line(s3: S3Server, bucket: ObjectBook):
    append_all(open_chain(bucket.location, "ds"), EVENTS)
    s3.request("PUT", str(bucket.location).removeprefix("s3:/") + "/ds//x", b"hello")
    with pytest.raises(LedgerError, match="can't read ledger .*/ds: an object there has a name that is not one of a"):
        open_chain(bucket.location, "ds").read()


def test_a_live_chain_notices_each_object_that_changed(bucket: ObjectBook):
    append_all(open_chain(bucket.location, "ds"), EVENTS)
    lines = bucket.lines()
    chain = open_chain(bucket.location, "ds")
    chain.read()
    for seq, line in enumerate(lines):
        name = f"ds/{seq:012d}.json"
        for edited in (line.replace(b'"time":"2', b'"time":"3'), b"", line + b"\n"):
            obstore.put(bucket.store, name, edited)
            with pytest.raises(LedgerError, match=re.escape(name)):
                chain.read()
        obstore.put(bucket.store, name, line)
        assert len(chain.read().entries) == len(EVENTS), "the same bytes again are no change"


def test_a_live_chain_notices_a_last_entry_that_was_exchanged_for_a_valid_one(memory: ObjectStore):
    write(memory, lines_of(EVENTS))
    chain = chain_of(memory)
    chain.read()
    write(memory, lines_of([*EVENTS[:-1], OURS]))
    for use in (chain.read, lambda: chain.append(lambda _: OURS)):
        with pytest.raises(LedgerError, match=r"000000000005\.json was replaced since this program first read it"):
            use()
    assert len(chain_of(memory).read().entries) == len(EVENTS), "only a head kept elsewhere shows it to a new program"


@given(data=st.data())
def test_no_single_edit_of_the_objects_goes_unnoticed(data: st.DataObject):
    lines = lines_of(EVENTS)
    objects = {f"ds/{seq:012d}.json": line for seq, line in enumerate(lines)}
    names = sorted(objects)
    edit = data.draw(st.sampled_from(["drop", "swap", "copy", "rename", "flip", "cut", "grow"]))
    name = data.draw(st.sampled_from(names[:-1]))
    if edit == "drop":
        del objects[name]
    elif edit == "swap":
        other = data.draw(st.sampled_from(names).filter(lambda other: other != name))
        objects[name], objects[other] = objects[other], objects[name]
    elif edit == "copy":
        other = data.draw(st.sampled_from([*names, "ds/000000000006.json"]).filter(lambda other: other != name))
        objects[other] = objects[name]
    elif edit == "rename":
        objects[f"ds/{data.draw(st.integers(6, 10**12 - 1)):012d}.json"] = objects.pop(name)
    elif edit == "flip":
        at = data.draw(st.integers(0, len(objects[name]) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != objects[name][at]))
        objects[name] = objects[name][:at] + bytes([byte]) + objects[name][at + 1 :]
    elif edit == "cut":
        objects[name] = objects[name][: data.draw(st.integers(0, len(objects[name]) - 1))]
    else:
        objects[name] += data.draw(st.binary(min_size=1, max_size=3))

    store = MemoryStore()
    write(store, lines)
    live = chain_of(store)
    live.read()
    for path in names:
        obstore.delete(store, path)
    for path, line in objects.items():
        obstore.put(store, path, line)
    for chain in (live, chain_of(store)):
        with pytest.raises(LedgerError):
            chain.read()

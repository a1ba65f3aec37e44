"""Held-out units: a function of each unit alone, in every format; they cast no vote and are not decoded."""

from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.private import record
from spti_ray.private.dataset import load_shard
from spti_ray.private.holdout import HELD_OUT, NOT_HELD_OUT, is_held_out
from tests.dicom_files import dicom
from tests.unit.private.formats import ROWS, WITH_COLUMNS, WRITERS, turned
from tests.unit.private.test_private_formats import written

ALL = ("all",)
SHARE = 0.5


def half(name, root, rows):
    return written(name, root, rows).model_copy(update={"holdout": SHARE})


def held(data, unit="record", part="voting"):
    shards = [list(load_shard(data, unit, shard, 2, ALL, part=part)) for shard in range(2)]
    return [one for shard in shards for one in shard]


def encoded(name, value):
    """The same bytes each time, which a DICOM file's ids would not be."""
    if not name.startswith("dicom"):
        return turned(value)
    if value not in _DICOM:
        _DICOM[value] = dicom(np.full((8, 4, 3), value, np.uint8))
    return _DICOM[value]


_DICOM: dict[int, bytes] = {}


def values(records):
    return {int(one.image[0, 0, 0]) for one in records if one.image is not None}


@pytest.mark.parametrize("name", WRITERS)
def test_a_record_goes_to_the_same_part_whatever_others_there_are(name, tmp_path):
    check_parts(name, tmp_path)


def test_a_choice_by_a_records_place_is_caught_by_the_same_check(tmp_path, monkeypatch):
    places = {"voting": count(), "held out": count()}
    monkeypatch.setattr(record, "_of_the_other_part", by_place(places))
    with pytest.raises(AssertionError, match="part of the others"):
        check_parts("folder", tmp_path)


def by_place(places):
    def chosen(share, part, group, encoded):
        return None if (next(places[part]) % 2 == 1) == (part == "held out") else HELD_OUT

    return chosen


def check_parts(name, tmp_path):
    rows = [("a", encoded(name, value), "u1") for value in range(10, 250, 20)]
    data = half(name, tmp_path / "all", rows)
    records = held(data)
    voting = values(records)
    assert {one.problem for one in records} == {None, HELD_OUT} and len(records) == len(rows)
    assert values(held(data, part="held out")) == set(range(10, 250, 20)) - voting
    others = [row for i, row in enumerate(rows) if i not in (0, 5)]
    left = {value for i, value in enumerate(range(10, 250, 20)) if i not in (0, 5)}
    assert values(held(half(name, tmp_path / "fewer", others))) == voting & left, "part of the others"


@pytest.mark.parametrize("name", WITH_COLUMNS)
def test_a_group_goes_as_a_whole(name, tmp_path):
    rows = [(label, turned(value), f"{group}{value % 3}") for label, value, group in ROWS]
    data = half(name, tmp_path / "data", rows)
    sides = {}
    for part in ("voting", "held out"):
        for one in held(data, "group", part):
            if one.image is not None:
                assert sides.setdefault(one.group, part) == part
            else:
                assert one.problem == (HELD_OUT if part == "voting" else NOT_HELD_OUT)
    assert set(sides) == {group for _, _, group in rows} and len(set(sides.values())) == 2


def test_nothing_is_held_out_by_default_and_no_bytes_are_hashed(tmp_path, monkeypatch):
    monkeypatch.setattr("spti_ray.private.record.is_held_out", None)
    data = written("folder", tmp_path / "data")
    records = list(load_shard(data, "record", 0, 1, ALL))
    assert [one.problem for one in records] == [None] * len(ROWS)


@given(st.binary(max_size=20), st.sampled_from(["record", "group"]), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50)
def test_a_larger_share_holds_out_all_that_a_smaller_one_does(content, kind, one, other):
    assert is_held_out(min(one, other), kind, content) <= is_held_out(max(one, other), kind, content)
    assert not is_held_out(0, kind, content) and is_held_out(1, kind, content)


def test_the_share_of_units_is_what_is_asked_for():
    found = [is_held_out(0.1, "record", str(i).encode()) for i in range(20_000)]
    assert np.mean(found) == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 20_000))
    as_groups = [is_held_out(0.1, "group", str(i).encode()) for i in range(20_000)]
    assert np.corrcoef(found, as_groups)[0, 1] == pytest.approx(0, abs=0.03)

"""The one canonical form of labels and groups: what is one unit has one name, whatever wrote it."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import DataConfig
from spti_ray.private.column_types import one_type
from spti_ray.private.dataset import load_shard
from spti_ray.private.ids import canonical, json_object
from spti_ray.private.kinds import DataError
from spti_ray.private.source import describe
from tests.unit.private.conftest import png
from tests.unit.private.formats import WITH_COLUMNS, WRITERS

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("form", "values"),
    [
        (
            "12",
            [
                12,
                12.0,
                "12",
                "12.0",
                " 12.00\n",
                b"12",
                Decimal("12.00"),
                Decimal("1.2E1"),
                np.int8(12),
                np.float32(12),
            ],
        ),
        ("12", [pa.scalar(12, pa.uint8()), pa.scalar(12.0), pa.scalar("12"), bytearray(b"12")]),
        ("0", [0, 0.0, -0.0, "-0.0", Decimal("-0.00")]),
        ("1.5", [1.5, "1.5", Decimal("1.50")]),
        ("100000000000000000000", [10**20, 1e20, "100000000000000000000"]),
        ("p1", ["p1", " p1 ", "p1\n", "\ufeffp1", "p1\0\0", b"p1", b" p1\0", "\u2028p1\x85"]),
        (NFC, [NFC, NFD, NFC.encode(), NFD.encode(), f"{NFD}\r"]),
        ("True", [True, np.bool_(True), "True"]),
        (None, [None, "", " \n", "\0", b"", float("nan"), float("inf"), [1], {"a": 1}, Decimal("nan"), 10**5000]),
    ],
)
def test_one_unit_has_one_name(form, values):
    assert {canonical(value) for value in values} == {form}


def test_what_are_two_names_stays_two():
    """Case counts, as do zeros in front, and bytes that are no UTF-8."""
    apart = ["p1", "P1", "p1.0", "1", "01", "1.", "1.50", 1.5, "1e3", "true", True, b"\xe9", b"\xe8", "a b", "a  b"]
    assert len({canonical(value) for value in apart}) == len(apart)


VALUES = st.one_of(
    st.text(), st.binary(), st.integers(), st.floats(), st.decimals(), st.dates(), st.booleans(), st.none(), st.uuids()
)


@given(VALUES)
def test_a_form_is_its_own_form_and_no_value_raises(value):
    form = canonical(value)
    assert form is None or canonical(form) == form


def test_a_huge_text_takes_no_time():
    """Unicode's normal form sorts marks in quadratic time."""
    assert canonical("\u0315\u0300" * 500_000)


@pytest.mark.parametrize(
    "written",
    ["[" * 100_000, '{"a":' * 100_000, '{"a": ' + "9" * 5000 + "}", "[1]", "NaN", "", "\0", b"\xff", "1" * 10**6],
)
def test_no_json_raises(written):
    assert json_object(written) is None


@pytest.mark.parametrize("name", WRITERS)
def test_configured_labels_and_those_of_the_data_have_one_form(name, tmp_path):
    """Labels in the other normal form, in columns with white space around them; groups alike."""
    (tmp_path / "d").mkdir()
    around = " " if name in WITH_COLUMNS and name != "parquet of paths" else ""
    rows = [(f"{NFD}{around}", png(10), "u1 "), (f"{NFC}", png(20), " u1"), ("dog", png(30), "u2")]
    columns = {"label_column": "label", "group_column": "user"} if name in WITH_COLUMNS else {}
    data = DataConfig(path=WRITERS[name](tmp_path / "d", rows), **columns)
    wanted = (NFD, " dog")
    found = [record for shard in range(2) for record in load_shard(data, "record", shard, 2, wanted)]
    assert sorted((int(r.image[0, 0, 0]), r.label) for r in found) == [(10, NFD), (20, NFD), (30, " dog")]
    if columns:
        grouped = [r for shard in range(3) for r in load_shard(data, "group", shard, 3, ("all",))]
        assert sorted((int(r.image[0, 0, 0]), r.group) for r in grouped) == [(10, "u1"), (20, "u1"), (30, "u2")]


def test_two_configured_labels_that_are_one_are_refused(tmp_path):
    pq.write_table(pa.table({"image": [png(1)], "label": ["a"]}), tmp_path / "d.parquet")
    data = DataConfig(path=str(tmp_path / "d.parquet"), label_column="label")
    with pytest.raises(DataError, match="evolution.labels: '1' and '1.0' are one label"):
        describe(data, label_names=("a", "1", "1.0"))


def write_files(folder, columns):
    for i, column in enumerate(columns):
        pq.write_table(pa.table({"image": [png(i)] * len(column), "user": column}), folder / f"{i}.parquet")
    return DataConfig(path=str(folder), group_column="user", label_column="user")


@pytest.mark.parametrize(
    "second",
    [pa.array([12.0]), pa.array(["12"]), pa.array([True]), pa.array([Decimal("12")]), pa.array([0], pa.date32())],
    ids=str,
)
@pytest.mark.parametrize("labels", [("all",), ("12",)])
def test_types_that_differ_between_files_are_refused_at_planning(tmp_path, second, labels):
    data = write_files(tmp_path, [pa.array([12]), second])
    field = "data.group_column" if labels == ("all",) else "data.label_column"
    with pytest.raises(DataError, match=f"{field}: the column has not the same type in all files") as caught:
        describe(data, "group" if labels == ("all",) else "record", labels)
    assert "12" not in str(caught.value).replace(str(tmp_path), "") and "\n" not in str(caught.value)


def test_types_of_one_form_are_one(tmp_path):
    ints = [pa.array([12], pa.int64()), pa.array([12], pa.uint8()), pa.nulls(1), pa.array([12]).dictionary_encode()]
    for i, columns in enumerate([ints, [pa.array(["12"]), pa.array([b"12 "]), pa.array(["12"]).dictionary_encode()]]):
        (tmp_path / str(i)).mkdir()
        data = write_files(tmp_path / str(i), columns)
        found = [record.group for shard in range(3) for record in load_shard(data, "group", shard, 3, ("all",))]
        assert {group for group in found if group is not None} == {"12"} and len(found) == len(columns)


def test_numbers_of_classes_are_no_plain_integers():
    classes = b'{"info": {"features": {"user": {"names": ["a"], "_type": "ClassLabel"}}}}'
    plain = pa.schema([("user", pa.int64())])
    assert not one_type([plain, plain.with_metadata({b"huggingface": classes})], "user")
    assert not one_type([pa.schema([("user", pa.string())]), plain.with_metadata({b"huggingface": classes})], "user")

"""Folders of DICOM files: which are records, their labels and groups from headers, and what is refused at planning."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="needs the extra dicom: make setup, or pip install 'spti-ray[dicom]'")

from spti_ray.config import DataConfig
from spti_ray.io.object_storage import storage_path
from spti_ray.private import dicom_header
from spti_ray.private.dataset import load_shard
from spti_ray.private.kinds import DataError
from spti_ray.private.source import describe
from spti_ray.private.survey import Survey, read_survey
from tests.dicom_files import BIG_ENDIAN, dataset, dicom, write, written
from tests.unit.private.conftest import png

ALL = ("all",)
CANARY = "CANARY-7f3a"
LIMIT = 10**6


def shade(value: int, **attributes) -> bytes:
    return dicom(np.full((2, 2), value, np.uint8), **attributes)


def values(records) -> list[int]:
    return [int(record.image[0, 0, 0]) for record in records]


def refusal(data: DataConfig, unit="record", labels=ALL) -> str:
    with pytest.raises(DataError) as caught:
        describe(data, unit, labels)
    assert CANARY not in str(caught.value).replace(data.path, "") and "\n" not in str(caught.value)
    return str(caught.value)


def read(data: DataConfig, unit="record", labels=ALL, shards=1):
    return [record for shard in range(shards) for record in load_shard(data, unit, shard, shards, labels)]


@pytest.fixture
def patients(tmp_path) -> DataConfig:
    for i in range(6):
        attributes = {"PatientID": f" P{i % 3}", "Modality": "MR" if i < 3 else "CT", "PatientName": CANARY}
        write(tmp_path, f"scans/{i}.dcm", shade(10 * i, **attributes))
    return DataConfig(path=str(tmp_path / "scans"))


def test_groups_and_labels_are_attributes_of_the_headers(patients):
    data = patients.model_copy(update={"group_column": "PatientID", "label_column": "Modality"})
    records = read(data, "group", ("CT", "MR"), shards=4)
    found = sorted((int(record.image[0, 0, 0]), record.label, record.group) for record in records)
    assert found == [(10 * i, "MR" if i < 3 else "CT", f"P{i % 3}") for i in range(6)]


def test_a_label_without_a_column_is_the_first_folder(tmp_path):
    for i, name in enumerate(("b/1.dcm", "a/2.dcm", "a/deeper/3.dcm")):
        write(tmp_path, name, shade(i))
    data = DataConfig(path=str(tmp_path))
    assert [(record.label, *values([record])) for record in read(data, labels=("a", "b"))] == [
        ("a", 1),
        ("a", 2),
        ("b", 0),
    ]
    assert "no label is the name of a first folder" in refusal(data, labels=("hand",))


def test_labels_may_be_in_a_table_and_groups_in_headers(patients):
    lines = [json.dumps({"file_name": f"{i}.dcm", "finding": "yes" if i % 2 else "no"}) for i in range(6)]
    write(Path(patients.path), "metadata.jsonl", "\n".join(lines).encode())
    data = patients.model_copy(update={"group_column": "PatientID", "label_column": "finding"})
    found = {(record.label, record.group) for record in read(data, "group", ("yes", "no"))}
    assert found == {("yes" if i % 2 else "no", f"P{i % 3}") for i in range(6)}
    write(Path(patients.path), "metadata.jsonl", b'{"file_name": "0.dcm", "PatientID": "x", "finding": "no"}')
    assert "'PatientID' is both an attribute of DICOM files and a column of metadata.jsonl" in refusal(data, "group")


def test_what_a_header_lacks_casts_no_vote(tmp_path):
    several = dataset(np.zeros((2, 2), np.uint8))
    several.add_new("PatientID", "LO", ["P1", "P2"])
    files = {"lacks": shade(1), "empty": shade(2, PatientID=""), "several": written(several), "none": b"no such file"}
    for name, content in {**files, "good": shade(5, PatientID="P1")}.items():
        write(tmp_path, f"{name}.dcm", content)
    found = read(DataConfig(path=str(tmp_path), group_column="PatientID"), "group")
    assert [record.problem for record in sorted(found, key=lambda record: record.name)] == [
        "no group",
        None,
        "no group",
        "no group",
        "no group",
    ]


def test_an_id_is_the_same_in_every_encoding_of_a_file():
    forms = [
        dataset(np.zeros((2, 2), np.uint8), syntax, SpecificCharacterSet=charset, PatientID="J\u00fcrgen 7 ")
        for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN)
        for charset in ("ISO_IR 100", "ISO_IR 192")
    ]
    numbers = dataset(np.zeros((2, 2), np.uint8), InstanceNumber=" 012", PatientName="Doe^J", SeriesNumber=None)
    assert {dicom_header._id(form.PatientID) for form in forms} == {"J\u00fcrgen 7"}
    assert dicom_header._id(numbers.InstanceNumber) == "12" and dicom_header._id(numbers.PatientName) == "Doe^J"


def test_only_the_head_of_a_file_is_read_and_nothing_blocks(tmp_path):
    data = shade(1, PatientID="P1")
    cut = data[: data.index(b"\xe0\x7f\x10\x00")]  # the pixels
    write(tmp_path, "cut", cut)
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, "large", cut + bytes(LIMIT))
    found = [
        dicom_header.attributes(storage_path(str(tmp_path / name)).with_info(), ["PatientID"], LIMIT)
        for name in ("cut", "pipe", "large", "missing")
    ]
    assert found == [{"PatientID": "P1"}, {"PatientID": None}, {"PatientID": None}, {"PatientID": None}]


def test_files_without_an_ending_are_read_where_the_format_is_set(tmp_path):
    for i, name in enumerate(
        ("IM000001", "1.2.840.113619.2.7", "2/c.DCM", "d.ima", "DICOMDIR", "README.txt", ".hidden")
    ):
        write(tmp_path, name, shade(10 + i))
    data = DataConfig(path=str(tmp_path))
    assert sorted(values(read(data))) == [12, 13]
    assert sorted(values(read(data.model_copy(update={"format": "dicom"})))) == [10, 11, 12, 13]
    for name in ("2/c.DCM", "d.ima"):
        (tmp_path / name).unlink()
    assert "those without an ending need data.format: dicom" in refusal(data)


def test_dicom_files_among_images_are_not_left_out_in_silence(tmp_path, monkeypatch):
    write(tmp_path, "1.png", png(1))
    write(tmp_path, "2.dcm", shade(2))
    data = DataConfig(path=str(tmp_path))
    told = refusal(data)
    assert "holds DICOM files and images" in told and "(dicom reads the DICOM files alone)" in told
    assert values(read(data.model_copy(update={"format": "dicom"}))) == [2]
    assert values(read(data.model_copy(update={"format": "folder"}))) == [1]
    monkeypatch.setattr("spti_ray.private.dicom.NEEDED", ("pydicom", "no_such_module"))
    assert "pip install 'spti-ray[dicom]'" in refusal(data)
    (tmp_path / "1.png").unlink()
    assert "holds DICOM files; reading them needs an extra: pip install 'spti-ray[dicom]'" in refusal(data)


def test_columns_that_no_header_has_are_refused_with_what_was_meant(patients):
    group = patients.model_copy(update={"group_column": "patient_id"})
    assert "'patient_id' is no attribute of DICOM files" in refusal(group, "group")
    assert "did you mean 'PatientID'?" in refusal(group, "group")
    sequence = patients.model_copy(update={"group_column": "ReferencedStudySequence"})
    assert "is no text or number" in refusal(sequence, "group")
    assert "data.group_column: must be set" in refusal(patients, "group")


def test_the_run_says_that_patients_need_groups_and_that_nothing_is_removed(patients):
    warning = describe(patients).warning
    assert "data.group_column: PatientID" in warning and "de-identification is up to the data's owner" in warning
    assert "\n" not in warning


def test_the_owner_is_shown_what_the_files_are(tmp_path):
    write(tmp_path, "scans/deep.dcm", dicom(np.arange(4, dtype=np.uint16).reshape(2, 2), BitsStored=12))
    write(tmp_path, "scans/video.dcm", dicom(np.zeros((3, 2, 2), np.uint8)))
    survey = Survey(1)
    for record in read(DataConfig(path=str(tmp_path / "scans"))):
        survey.add(record)
    survey.write(tmp_path / "internal" / "0.parquet", {})
    deep, video = read_survey(tmp_path / "internal" / "0.parquet")
    assert (deep.format, deep.is_deep) == ("DICOM, MONOCHROME2 of 12 bits, Explicit VR Little Endian", True)
    assert (video.name, video.problem) == ("video.dcm", "several frames")

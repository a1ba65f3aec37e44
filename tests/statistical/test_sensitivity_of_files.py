"""Audit 1 of the privacy contract, from the bytes of files on: damage to one record changes no other record's vote.

For every format small data sets are written, one record is damaged, lost, repeated, renamed or moved, and all are read
by the product's reader over all shards. Either that ends in a `DataError`, which is before any reservation, or the
other records are what they were, and the counts differ from those without the record by what one unit may add.

    SPTI_FILE_EXAMPLES=2000 HYPOTHESIS_PROFILE=search pytest tests/statistical/test_sensitivity_of_files.py
"""

from __future__ import annotations

import csv
import io
import os
import random
import tarfile
import zipfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray.config import DataConfig
from spti_ray.private import file_records, metadata, tables, tars, zips
from spti_ray.private.dataset import load_shard
from spti_ray.private.ids import canonical
from spti_ray.private.kinds import DataError
from spti_ray.private.record import Record
from spti_ray.private.source import describe
from spti_ray.private.views import NO_GROUP, NO_LABEL, Views, quantise
from spti_ray.private.voting import cast_votes
from spti_ray.types import Candidate, Candidates, CountArray, ScoredCandidates
from tests.statistical.damage import DAMAGES, Pieces, changed, without
from tests.statistical.layouts import LAYOUTS, Layout, Sample
from tests.statistical.neighbours import LABELS, check_change, is_caught

EXAMPLES = int(os.environ.get("SPTI_FILE_EXAMPLES", "3"))
"""Of each format and kind of damage."""

K = 2
CANARY = "CANARY"
IN_THE_ARCHIVE = "bytes_in_the_archive"

_ANGLES = np.linspace(0, np.pi / 2, 8)
_MATRIX = np.stack([np.cos(_ANGLES), np.cos(_ANGLES) / 2, np.sin(_ANGLES)], axis=1).astype(np.float32)
SCORED = ScoredCandidates(
    Candidates(tuple(Candidate(f"g00-{i:05d}", "t", LABELS[i // 4], 0) for i in range(8))),
    {"image": _MATRIX},
    {"image": 1.0},
)


def read(data: DataConfig, unit: str, num_shards: int) -> list[list[Record]] | None:
    """The records of each shard, as a run reads them; None if that ends before a reservation."""
    try:
        describe(data, unit, LABELS)
        return [list(load_shard(data, unit, shard, num_shards, LABELS)) for shard in range(num_shards)]
    except DataError as error:
        text = str(error).replace(data.path, "")
        assert CANARY not in text and "\n" not in text and error.__context__ is None
        return None


def counts(shards: list[list[Record]], unit: str) -> CountArray:
    """Votes by an embedding that depends on an image's first pixel alone, summed over the shards."""
    total_K = np.zeros(len(SCORED.candidates), dtype=np.int64)
    for shard in shards:
        codes: dict[str, int] = {}
        pixels = [np.zeros(3) if record.image is None else record.image[0, 0] for record in shard]
        labels = [NO_LABEL if record.image is None else LABELS.index(record.label or "") for record in shard]
        groups = [NO_GROUP if r.group is None else codes.setdefault(r.group, len(codes)) for r in shard]
        views = Views(
            {"image": quantise(np.array(pixels, np.float32).reshape(-1, 3))},
            np.array(labels, np.int32),
            LABELS,
            np.array(groups, np.int64) if unit == "group" else None,
        )
        total_K += cast_votes(views, SCORED, K)
    return total_K


def known(shards: list[list[Record]]) -> Counter[tuple[int, str | None, str | None]]:
    """What is known of each usable record: its colour, label and group."""
    records = [record for shard in shards for record in shard if record.image is not None]
    return Counter((int(record.image[0, 0, 0]), record.label, record.group) for record in records)


def of_other_groups(shards: list[list[Record]], groups: set[str | None]) -> list[list[Record]]:
    return [[record for record in shard if record.group not in groups] for shard in shards]


def check(root: Path, layout: Layout, damage: str, rng: random.Random) -> bool:
    """Write, damage, read and compare. Returns whether the damaged set could be read."""
    unit = rng.choice(["record", "group"]) if layout.has_groups else "record"
    colours = rng.sample(range(10, 250, 20), rng.randint(3, 5))
    samples = [
        Sample(i, value, rng.choice(LABELS), f"{CANARY}-u{rng.randint(1, 3)}") for i, value in enumerate(colours)
    ]
    pieces: Pieces = [piece for sample in samples for piece in layout.pieces(sample)]
    victim = rng.choice(samples)
    before = read(layout.write(root / "before", pieces), unit, rng.randint(1, 3))
    assert before is not None and sum(known(before).values()) == len(samples)
    after = read(damaged(root / "after", layout, damage, pieces, victim.number, rng), unit, rng.randint(1, 3))
    if after is None:
        return False

    found, others = known(after), known(before)
    copies = 2 if damage == "repeated" else 1
    (own,) = [one for one in others if one[0] == victim.value]
    others[own] -= 1
    assert not others - found, "another record is gone or has another label or group"
    assert sum((found - others).values()) <= copies, "there are more records than there can be"

    if unit == "record":
        base = (
            before
            if damage == "repeated"
            else read(layout.write(root / "rest", without(pieces, victim.number)), unit, 2)
        )
        assert base is not None
        if damage == "repeated":
            change_K = counts(after, unit) - counts(base, unit)
            assert (change_K**2).sum() <= K
        else:
            check_change(counts(before, unit), counts(base, unit), K)
            check_change(counts(after, unit), counts(base, unit), K)
        return True
    # The record's group, and the one that its damaged cell names: two units at most, and no vote of another.
    touched = {own[2], *(group for _, _, group in found - others)}
    rest_K = counts(of_other_groups(after, touched), unit)
    np.testing.assert_array_equal(rest_K, counts(of_other_groups(before, touched), unit))
    if len(touched) == 1:
        check_change(counts(before, unit), rest_K, K)
        check_change(counts(after, unit), rest_K, K)
    return True


def damaged(root: Path, layout: Layout, damage: str, pieces: Pieces, victim: int, rng: random.Random) -> DataConfig:
    if damage != IN_THE_ARCHIVE:
        return layout.write(root, DAMAGES[damage](rng, pieces, victim))
    data = layout.write(root, pieces)
    assert layout.spans is not None
    path, start, end = rng.choice(layout.spans(root, pieces, victim))
    raw = path.read_bytes()
    path.write_bytes(raw[:start] + changed(rng, raw[start:end]) + raw[end:])
    return data


CASES = [
    (name, damage)
    for name, layout in LAYOUTS.items()
    for damage in (*DAMAGES, *([IN_THE_ARCHIVE] if layout.spans else []))
]


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_damage_to_one_record_changes_no_other_records_vote(tmp_path_factory, name, damage):
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.randoms(use_true_random=True))
    def search(rng):
        check(tmp_path_factory.mktemp("files"), LAYOUTS[name], damage, rng)

    search()


def rows_of_pythons_csv(patch: pytest.MonkeyPatch) -> None:
    def rows(file):
        with file.open_stream() as stream:
            yield from csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline=""))

    patch.setattr(metadata, "_rows", rows)


def the_last_of_several_rows(patch: pytest.MonkeyPatch) -> None:
    def cells(file, names, label_column, group_column):
        return {
            row["file_name"]: (canonical(row.get(label_column)), canonical(row.get(group_column)))
            for row in metadata._rows(file)
            if row.get("file_name") in names
        }

    patch.setattr(metadata, "cells", cells)


def a_damaged_header_ends_the_archive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tars, "_Header", tarfile.TarInfo)
    patch.setattr(tars, "next_member", lambda tar: tar.next())


def what_follows_the_end_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tars, "next_member", lambda tar: tar.next())


def keys_may_come_back(patch: pytest.MonkeyPatch) -> None:
    """Samples by their key, wherever their members are."""

    def samples(file, wanted, limit):
        found: dict[str, dict[str, bytes]] = {}
        with tars.archive(file) as tar:
            while (member := tars.next_member(tar)) is not None:
                key, _, extension = member.name.partition(".")
                found.setdefault(key, {}).setdefault(extension, tar.extractfile(member).read())
        yield from found.items()

    patch.setattr(file_records, "samples", samples)


def a_zip_file_as_python_reads_it(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def archive(file):
        with file.open() as opened, zipfile.ZipFile(opened) as found:
            yield found

    patch.setattr(zips, "_archive", archive)


def the_last_of_several_members(patch: pytest.MonkeyPatch) -> None:
    def members(archive, suffixes):
        return list({member.filename: member for member in archive.infolist()}.values())

    patch.setattr(zips, "image_members", members)


def a_cell_ends_the_reading_of_its_file(patch: pytest.MonkeyPatch) -> None:
    """Errors of the other kind: a careless reader leaves out what comes after a cell that it can't read."""

    def rows(file, columns, wanted):
        for row, batch, i in honest(file, columns, wanted):
            try:
                batch.column("label")[i].as_py()
            except UnicodeDecodeError:
                return
            yield row, batch, i

    honest = tables.parquet_rows
    patch.setattr(tables, "parquet_rows", rows)


@pytest.mark.parametrize(
    ("fault", "name", "damage"),
    [
        (rows_of_pythons_csv, "folder with csv", "bytes_of_a_piece"),
        (the_last_of_several_rows, "folder with jsonl", "renamed"),
        (a_damaged_header_ends_the_archive, "tar", IN_THE_ARCHIVE),
        (what_follows_the_end_is_not_looked_at, "tar", IN_THE_ARCHIVE),
        (keys_may_come_back, "tar", "renamed"),
        (a_zip_file_as_python_reads_it, "zip", IN_THE_ARCHIVE),
        (the_last_of_several_members, "zip", "renamed"),
        (a_cell_ends_the_reading_of_its_file, "parquet", "another_value"),
    ],
)
def test_a_reader_with_a_planted_fault_is_caught_by_the_same_check(tmp_path_factory, monkeypatch, fault, name, damage):
    fault(monkeypatch)
    seeds = st.randoms(use_true_random=True)
    assert is_caught(lambda rng: check(tmp_path_factory.mktemp("files"), LAYOUTS[name], damage, rng), seeds)

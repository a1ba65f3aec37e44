"""The picture that shows a public "private" set beside what nobody voted for and a release."""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.side_by_side import COLUMNS, ROWS, main

COLOURS = {"private": (200, 30, 30), "without": (30, 200, 30), "release": (30, 30, 200)}


def _png(colour, size=64):
    data = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(data, "PNG")
    return data.getvalue()


def test_private_images_and_two_releases_are_shown_beside_each_other_drawn_the_same_way_each_time(
    tmp_path, monkeypatch
):
    table = pa.table({"image": [{"bytes": _png(COLOURS["private"], 48), "path": f"{i}.png"} for i in range(40)]})
    pq.write_table(table, tmp_path / "private.parquet")
    for run in ("without", "release"):
        (tmp_path / run / "release" / "images").mkdir(parents=True)
        for i in range(50 if run == "release" else 3):
            (tmp_path / run / "release" / "images" / f"{i:06d}.png").write_bytes(_png((*COLOURS[run][:2], 150 + 2 * i)))
    made = []
    for name in ("one.png", "two.png"):
        options = {"--private": "private.parquet", "--without": "without", "--release": "release", "--out": name}
        arguments = [word for option, path in options.items() for word in (option, str(tmp_path / path))]
        monkeypatch.setattr(sys, "argv", ["side_by_side", *arguments])
        assert main() == 0
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    picture = np.asarray(Image.open(io.BytesIO(made[0])).convert("RGB"))
    panels = [
        (np.abs(picture[:, :, :2].astype(int) - colour[:2]).max(axis=2) == 0).sum() / 64**2
        for colour in COLOURS.values()
    ]
    assert panels == [COLUMNS * ROWS, 3, COLUMNS * ROWS], "all that there is, if it is less than a panel"


def test_of_several_sets_there_must_be_as_many_of_each(tmp_path, monkeypatch, capsys):
    words = ["side_by_side", "--private", "a", "b", "--without", "a", "--release", "a", "b", "--out", "c"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        main()
    assert "give as many of each" in capsys.readouterr().err

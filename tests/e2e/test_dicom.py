"""docs/how-to/dicom.md, command by command, on a few DICOM files of patients that nobody has."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

pytest.importorskip("pydicom", reason="needs the extra dicom: make setup, or pip install 'spti-ray[dicom]'")

from tests.dicom_files import dicom, write
from tests.snippets import ROOT, blocks, command_lines

CANARY = "CANARY-7f3a"
SMALL = (
    "--set=runtime.executor=local",
    "--set=evolution.generations=2",
    "--set=evolution.candidates=20",
    "--set=evolution.themes=[8]",
    "--set=release.images=4",
)
MORE = {"init": ("--template", "--set=runtime.engines=fake"), "check": SMALL, "run": SMALL}
"""What makes each command short."""


@pytest.mark.slow  # the reader's own tests are those of tests/unit/private
def test_the_commands_of_the_how_to_go_from_dicom_files_to_a_release(cli):
    rng = np.random.default_rng(0)
    for i in range(12):
        attributes = {
            "PatientID": f"{CANARY}-{i % 5}",
            "PatientName": CANARY,
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
        }
        window = {"WindowCenter": 40, "WindowWidth": 400} if i % 2 else {}
        pixels = rng.integers(0, 4096, (24, 24)).astype(np.uint16)
        write(cli.folder, f"scans/{i:02d}.dcm", dicom(pixels, BitsStored=12, **attributes, **window))
    write(cli.folder, "scans/clip.dcm", dicom(np.zeros((3, 8, 8), np.uint8), PatientID=f"{CANARY}-9"))
    (script, *_) = blocks(ROOT / "docs" / "how-to" / "dicom.md", "sh")
    commands = list(command_lines(script))
    assert [arguments[0] for arguments in commands] == ["init", "plan", "check", "run"]
    told = ""
    for arguments in commands:
        done = cli(*arguments, *MORE.get(arguments[0], ()))
        assert done.returncode == 0, done.stdout + done.stderr
        told += done.stdout + done.stderr
    written = yaml.safe_load((cli.folder / "hands.yaml").read_text())
    assert written["data"]["group_column"] == "PatientID" and written["privacy"]["unit"] == "group"
    page = (cli.folder / "runs" / "hands" / "internal" / "check.html").read_text()
    assert "12 of 13 records can vote" in page and "<h3>several frames: 1</h3>" in page and "clip.dcm" in page
    assert "DICOM, MONOCHROME2 of 12 bits" in page
    assert len(list((cli.folder / "runs" / "hands" / "release" / "images").iterdir())) == 4
    assert CANARY not in told and "de-identification is up to the data's owner" in " ".join(told.split())
    for path in (cli.folder / "runs" / "hands").rglob("*"):
        if path.is_file() and path.name != "check.html":  # the owner's page, which names groups
            assert CANARY.encode() not in path.read_bytes(), path

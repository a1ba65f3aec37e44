"""What is put into the package: all models, whole, readable, and not too large."""

import stat

import pytest

from jobs.embedded import bundle as module
from jobs.embedded.bundle import MODELS, bundle


@pytest.fixture
def work(tmp_path):
    for stage in MODELS:
        folder = tmp_path / "work" / stage / "model" / "unet"
        folder.mkdir(parents=True)
        (folder / "weights").write_text(stage)
        (folder / "weights").chmod(0o600)
    return tmp_path / "work"


def test_new_models_take_the_place_of_old_ones_and_can_be_read_by_all(work, tmp_path):
    old = tmp_path / "package" / "sticker-sd" / "unet"
    old.mkdir(parents=True)
    (old / "of an older version").touch()
    bundle(work, tmp_path / "package")
    assert sorted(path.name for path in (tmp_path / "package").iterdir()) == sorted(MODELS.values())
    for stage, name in MODELS.items():
        (weights,) = (tmp_path / "package" / name / "unet").iterdir()
        assert weights.read_text() == stage and stat.S_IMODE(weights.stat().st_mode) & 0o044 == 0o044


def test_where_one_is_missing_or_all_are_too_large_nothing_is_replaced(work, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 3)
    with pytest.raises(SystemExit, match="the package may hold 3"):
        bundle(work, tmp_path / "package")
    (work / "captioner" / "model" / "unet" / "weights").unlink()
    (work / "captioner" / "model" / "unet").rmdir()
    (work / "captioner" / "model").rmdir()
    with pytest.raises(SystemExit, match="captioner/model; make it first"):
        bundle(work, tmp_path / "package")
    assert not (tmp_path / "package").exists()

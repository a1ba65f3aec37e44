"""A whole small run on the bundled checkpoints: vLLM, BLIP, diffusers, CLIP and MiniLM, each in its Ray actor."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

STICKERS = str(Path(__file__).parents[2] / "jobs" / "stickers.yaml")


def _some_private_images(folder: Path) -> None:
    from spti_ray.private.source import resolve_path

    folder.mkdir()
    rows = pq.read_table(resolve_path("bundled:stickers"), columns=["image"]).slice(0, 24).to_pylist()
    for i, row in enumerate(rows):
        (folder / f"{i:03d}.png").write_bytes(row["image"]["bytes"])


def test_the_real_engines_run_end_to_end_under_joint_voting(cli):
    _some_private_images(cli.folder / "images")
    done = cli.anew(
        "run",
        STICKERS,
        "--out=run",
        "--set=data.path=images",
        f"--set=ledger.path={cli.folder}/ledger",
        "--set=runtime.engines={renderer: {dtype: float32, batch_size: 8}}",  # bfloat16: tests/e2e/test_engines.py
        "--set=evolution.voting=joint",
        "--set=evolution.generations=2",
        "--set=evolution.candidates=8",
        "--set=evolution.themes=[4]",
        "--set=release.images=6",
        "--set=release.images_per_text=2",
        timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pq.read_table(cli.folder / "run" / "release" / "manifest.parquet").to_pylist()
    assert len(rows) == 6
    expected = {
        "writer": "bundled:smollm2",
        "renderer": "bundled:sticker-sd",
        "captioner": "bundled:sticker-blip",
        "image_embedder": "bundled:sticker-clip",
        "text_embedder": "bundled:minilm",
    }
    for role, model in expected.items():
        assert rows[0][f"{role}_model"] == model and rows[0][f"{role}_revision"]
    with Image.open(io.BytesIO((cli.folder / "run" / "release" / rows[0]["file"]).read_bytes())) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (64, 64, 3) and pixels.std() > 5, "an image, and not a blank"
    table = pq.read_table(cli.folder / "run" / "generations" / "01" / "candidates.parquet")
    assert {"embedding_image", "embedding_text"} <= set(table.column_names)
    assert json.loads((cli.folder / "run" / "release" / "privacy.json").read_text())["noise"]["source"].startswith(
        "opendp"
    )
    assert (cli.folder / "run" / "internal" / "ingest.jsonl").read_text() == ""

"""`method: dp-finetune` through the command line, with the embedded renderer: killed while it trains, then gone on."""

from __future__ import annotations

import json
import stat

import pyarrow.parquet as pq
import pytest
from PIL import Image

from spti_ray.dp.file_chain import verify

SETTINGS = (
    "method=dp-finetune",
    "data.path=images",
    "data.image_column=image",
    "data.label_column=label",
    "evolution.labels=[{name: animals}, {name: food, hint: a meal}]",
    "runtime.engines={renderer: {dtype: float32, batch_size: 4}}",
    "finetune.steps=2",
    "finetune.spare_steps=3",
    "finetune.records_estimate=6",
    "finetune.batch_size=3",
    "finetune.draws=1",
    "finetune.rank=1",
    "finetune.save_every_s=0",
    "release.images=4",
)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_its_images_stay_inside_and_are_told_in_the_ledger(cli):
    for label in ("animals", "food"):
        (cli.folder / "images" / label).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (64, 64), (80 * index, 90, 200)).save(cli.folder / "images" / label / f"{index}.png")
    (cli.folder / "images" / "food" / "torn.png").write_bytes(b"torn")
    arguments = cli.run_arguments("run", *SETTINGS, on_ray=True)
    planned = cli("plan", arguments[1], *arguments[4:])
    assert planned.returncode == 0 and "NOT CERTIFIED: epsilon 2 at delta 1e-05" in planned.stdout, planned.stderr

    inside = cli.folder / "run" / "internal"
    steps = inside / "finetune" / "steps.log"
    cli.kill_when(arguments, lambda: steps.exists() and steps.stat().st_size)
    assert "interrupted" in cli("status", "run").stdout
    before = verify(cli.folder / "ledger" / "stickers.jsonl")

    done = cli(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT CERTIFIED" in done.stdout and "noise multiplier" in done.stdout
    assert {path.name for path in (cli.folder / "run").iterdir()} == {"run.yaml", "internal"}
    told = json.loads((inside / "finetune" / "finetune.json").read_text())
    assert told["steps"] == 2 and told["charged_steps"] == len(steps.read_text().split()) <= 5
    assert told["charged_epsilon"] <= told["plan"]["achieved_epsilon"] <= told["epsilon"] == 2.0
    images = inside / "not-certified"
    mark = (images / "NOT-CERTIFIED.txt").read_text()
    assert "at epsilon 2 and delta 1e-05 per record" in mark and "no certificate" in mark
    rows = pq.read_table(images / "manifest.parquet").to_pylist()
    assert [row["text"] for row in rows] == ["animals, simple stickers"] * 2 + ["a meal, simple stickers"] * 2
    assert {row["renderer_model"] for row in rows} == {str(inside / "finetune" / "model")}
    assert sorted(path.name for path in (images / "images").iterdir()) == [f"{index:05d}.png" for index in range(4)]
    for path in [inside, *inside.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert len((inside / "ingest.jsonl").read_text().splitlines()) == 1

    entries = verify(cli.folder / "ledger" / "stickers.jsonl")
    assert entries == before and [entry.kind for entry in entries] == ["REGISTERED", "EVALUATED"]
    assert entries[-1].event.metric == "dp-finetune at epsilon 2, uncertified"
    assert "Nothing to do" in cli(*arguments).stdout
    status = cli("status", "run").stdout
    assert "finished" in status and f"{told['charged_steps']} steps of fine-tuning were begun" in status

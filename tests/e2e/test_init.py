"""`spti init`, and a run of what it wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image


def test_a_starter_of_a_folder_with_labels_runs_as_it_is(cli):
    rng = np.random.default_rng(0)
    for label in ("round", "square"):
        (cli.folder / "photos" / label).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(cli.folder / "photos" / label / f"{i}.png")
    fakes = "--set=runtime.engines=fake"
    done = cli(
        "init", "photos of signs", "--dataset=signs", "--labels=round,square", "--data=photos", "--out=my.yaml", fakes
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sizes = (
        "--set=runtime.executor=local",
        "--set=evolution.generations=2",
        "--set=evolution.candidates=20",
        "--set=evolution.themes=[8]",
        "--set=release.images=4",
    )
    done = cli("run", "my.yaml", "--out=run", *sizes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((cli.folder / "run" / "release" / "images").iterdir())) == 4


def test_a_writer_that_can_not_be_started_is_named_on_the_terminal(cli):
    writer = ("--set=runtime.engines.writer.kind=spti_ray.models.fakes:Nothing", "--set=runtime.engines.writer.model=x")
    done = cli("init", "photos of signs", "--dataset=signs", "--out=my.yaml", *writer)
    assert done.returncode == 1 and "spti: the writer x or the text embedder" in done.stderr
    assert "--template needs none" in done.stderr and not (cli.folder / "my.yaml").exists()


@pytest.mark.slow
def test_the_bundled_model_drafts_for_a_domain_that_it_was_not_shown(cli):
    arguments = ("--out=my.yaml", "--dataset=kitchen", "--data=/nowhere", "--set=runtime.engines.writer.dtype=float32")
    done = cli("init", "product photos of kitchen appliances", *arguments, timeout=480)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (cli.folder / "my.yaml").read_text()
    assert "by bundled:smollm2, which was shown that line" in " ".join(text.replace("#", " ").split())
    prompts = yaml.safe_load(text)["prompts"]
    assert text.count("TEMPLATE, written by no model") <= 3, "most of it is the model's"
    assert len(set(prompts["examples"])) == 8
    planned = cli("plan", "my.yaml", "--json")
    assert json.loads(planned.stdout)["candidates"] == 640

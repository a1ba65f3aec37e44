"""Choose settings of the baseline `dp-finetune` on public images alone: icons of a vendor that the renderer never saw.

    python -m jobs.tune_finetune --work runs/tuning                                   the settings that were compared
    python -m jobs.tune_finetune --work runs/tuning --epsilon 1 --set finetune.rank=16    one more

OpenMoji's drawings (CC BY-SA 4.0, from npm) are drawn at random into 1,232 that stand for the private images and 401
that are held out. Prints, and appends to `results.jsonl`, the held-out loss of the renderer before and after. What is
in `results.jsonl` is not run again. Neither the sample private set nor a judge is looked at.

`jobs/results/tune_finetune.jsonl` has what was recorded before the defaults of `finetune` were set: rank 4 with
learning rate 0.01, which at epsilon 1 is within 0.001 of the best loss found, and lies between two rates that are
worse. Not tried: `mode: full`, and these settings at the full number of steps and draws. The seconds are those of a
machine that was shared.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.embedded.icons import fetch, rasterise, read_icons
from spti_ray.config import Config
from spti_ray.config.loading import load_config
from spti_ray.finetuning.dp_finetune import finetune_run
from spti_ray.finetuning.held_out import held_out_loss

VENDOR, TRAINED, SEED = "openmoji", 1232, 0

SHORT = ("finetune.steps=24", "finetune.draws=1", "finetune.batch_size=125", "finetune.records_at_once=32")
"""What all comparisons share: an eighth of the usual work."""

COMPARED = (
    ("finetune.rank=1", "finetune.learning_rate=0.01"),
    ("finetune.rank=4", "finetune.learning_rate=0.01"),
    ("finetune.rank=1", "finetune.learning_rate=0.03"),
    ("finetune.rank=4", "finetune.learning_rate=0.003"),
    ("finetune.rank=4", "finetune.learning_rate=0.03"),
    ("finetune.mode=full", "finetune.clip_norm=1.0", "finetune.learning_rate=0.00003"),
)


def draw_images(work: Path) -> None:
    """`train/` and `held_out/` in the working folder, as PNG; nothing if they are there."""
    if (work / "held_out").exists():
        return
    fetch(work / "npm")
    drawings = [rasterise(icon.svg, 64) for icon in read_icons(work / "npm") if icon.source == VENDOR]
    order = np.random.default_rng(SEED).permutation(len(drawings))
    for name, chosen in (("train", order[:TRAINED]), ("held_out", order[TRAINED:])):
        partial = work / f"{name}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        for at in chosen:
            Image.fromarray(drawings[at]).save(partial / f"{at:05d}.png")
        partial.rename(work / name)


def settings(work: Path, part: str, overrides: tuple[str, ...]) -> Config:
    return load_config(Path("jobs/stickers.yaml"), [f"data.path={work / part}", "method=dp-finetune", *overrides])


def known(results: Path) -> dict[str, dict]:
    lines = results.read_text().splitlines() if results.exists() else []
    return {line["name"]: line for line in map(json.loads, lines)}


def try_out(work: Path, epsilon: float | None, overrides: tuple[str, ...]) -> None:
    """Train and judge once, unless `results.jsonl` has it."""
    results = work / "results.jsonl"
    name = " ".join([f"epsilon={epsilon or 'inf'}", *overrides])
    done = known(results)
    base = done.get("base")
    if base is None:
        base = {"name": "base", "loss": held_out_loss(settings(work, "held_out", ()))}
        report(results, base)
    if name in done:
        return
    privacy = (f"privacy.epsilon={epsilon or 'inf'}", "privacy.allow_not_private=true")
    started = time.monotonic()
    folder = work / "runs" / name.replace(" ", "_").replace("/", "_")
    config = settings(work, "train", (*privacy, *overrides))
    trained = finetune_run(config, folder)
    seconds = time.monotonic() - started
    loss = held_out_loss(settings(work, "held_out", (*privacy, *overrides)), trained.engine)
    report(results, {"name": name, "loss": loss, "change": loss - base["loss"], "seconds": round(seconds)})


def report(results: Path, line: dict) -> None:
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/tuning"), help="working folder (%(default)s)")
    parser.add_argument("--epsilon", type=float, help="of one more; infinity without it")
    parser.add_argument("--set", action="append", default=[], help="one more, with this setting; may be repeated")
    given = parser.parse_args()
    draw_images(given.work)
    for one in [tuple(given.set)] if given.set else [(*SHORT, *one) for one in COMPARED]:
        for epsilon in [given.epsilon] if given.set else [1.0, None]:
            try_out(given.work, epsilon, one)

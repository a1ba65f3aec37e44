"""What is built around a run, on the bundled models: filters, provenance, `spti measure` and the contamination audit.

One small run for all of it. Its driver is killed while the release is rendered and the same command goes on; then its
release is taken away and made once more. The tests look at what is left, in order: each measurement and audit adds to
the ledger, and what was proved before must still hold.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from spti_ray.config import DataConfig
from spti_ray.dp import artifact
from spti_ray.dp.history import history
from spti_ray.dp.ledger import Ledger
from spti_ray.models.bundled import package_file
from spti_ray.private.dataset import load_shard
from spti_ray.provenance.statement import SOURCE_TYPE
from tests.e2e.conftest import ROOT, Cli
from tests.packaging.resolving import ask, constraints

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]  # three starts of a run, in the first test that needs it

LABELS = ("animals-nature", "food-drink")
KINDS = {
    LABELS[0]: ["dog", "cat", "horse", "bear", "rabbit", "bird", "fish", "butterfly"],
    LABELS[1]: ["apple", "banana", "grapes", "carrot", "bread", "pizza", "burger", "cake"],
}
IMAGES, HELD_OUT = 24, 0.2
MODELS = {
    "writer": "bundled:smollm2",
    "renderer": "bundled:sticker-sd",
    "captioner": "bundled:sticker-blip",
    "image_embedder": "bundled:sticker-clip",
    "text_embedder": "bundled:minilm",
}
TASKS: dict[str, dict[str, Any]] = {
    "accuracy": {
        "task": "label_accuracy",
        "epsilon": 2.0,
        "embedder": {"kind": "vision", "model": "bundled:sticker-blip"},
    },
    "coverage": {"task": "coverage", "epsilon": 2.0, "radius_quantile": 0.9},
}
READ_ALONE = """
import importlib.util, json, sys
import c2pa

assert importlib.util.find_spec("spti_ray") is None
found = {}
for name in sys.argv[1:]:
    with c2pa.Reader(name) as reader:
        document = json.loads(reader.json())
        (action,) = reader.get_active_manifest()["assertions"][0]["data"]["actions"]
    failures = document["validation_results"]["activeManifest"]["failure"]
    found[name] = [document["validation_state"], [one["code"] for one in failures], action]
print(json.dumps(found))
"""
"""A user of c2pa-python, who has nothing of ours."""


@dataclass(frozen=True)
class Made:
    """The run, what it printed in the end, and what its release was before it was made once more."""

    cli: Cli
    run: Path
    printed: str
    before: list[tuple[Any, ...]]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.cli.folder / "ledger", "real-stickers")

    def spti(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.cli.anew(*map(str, arguments), timeout=400)
        assert done.returncode == code, done.stdout + done.stderr
        return done


def settings(folder: Path) -> dict[str, Any]:
    """Those of the demo, but for labels, few images, and filters that some of the bundled renderer's images fail."""
    demo = yaml.safe_load((ROOT / "jobs" / "stickers.yaml").read_text())
    kinds = {name: {"kind": values} for name, values in KINDS.items()}
    colors = {"color": demo["prompts"]["attributes"]["color"]}
    prompts = demo["prompts"] | {"attributes": colors, "label_attributes": kinds, "example_attributes": []}
    labels = [{"name": name, "hint": hint} for name, hint in zip(LABELS, ("an animal", "food"), strict=True)]
    return demo | {
        "data": {"path": "bundled:stickers", "label_column": "label", "holdout": HELD_OUT},
        "dataset": {"id": "real-stickers", "lifetime_epsilon": 40},
        "privacy": {"epsilon": 4.0, "delta": 1e-5},
        "evolution": {"generations": 2, "candidates": 28, "voting": "joint", "survivors": 0.5, "labels": labels},
        "prompts": prompts,
        "release": {
            "images": IMAGES,
            "filters": {
                "blank": {"max_deviation": 45},
                "duplicate": {"min_similarity": 0.85},
                "mismatch": {"others": 20, "max_rank": 3},
            },
            "provenance": {"certificate": "test"},
        },
        "ledger": {"path": str(folder / "ledger")},
        # In float32, since most CPUs emulate bfloat16, which takes them ten times as long.
        "runtime": {
            "engines": {"renderer": {"dtype": "float32", "batch_size": 8}},
            "executor": "local",
            "shards": 1,
        },
    }


def decided(run: Path) -> list[tuple[Any, ...]]:
    """Of each released image its file, text, seed and pixels; and the account of the filters."""
    table = pq.read_table(run / "release" / "manifest.parquet")
    rows = table.select(["file", "text", "label", "seed"]).to_pylist()
    filtered = table.schema.metadata[b"spti_ray.filters"]
    rejected = (run / "internal" / "rejected.jsonl").read_text()
    return [(*row.values(), pixels(run / "release" / row["file"])) for row in rows] + [(filtered, rejected)]


def pixels(path: Path) -> str:
    with Image.open(path) as image:
        return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    cli = Cli(tmp_path_factory.mktemp("real"))
    (cli.folder / "run.yaml").write_text(yaml.safe_dump(settings(cli.folder)))
    run, command = cli.folder / "run", cli.command("run", "run.yaml", "--out", "run")
    with (cli.folder / "printed.txt").open("w") as printed:
        driver = subprocess.Popen(command, cwd=cli.folder, env=cli.environment(), stdout=printed, stderr=printed)
    images = run / "release.partial" / "images"
    deadline = time.monotonic() + 500
    while not images.is_dir() or len(list(images.glob("*.png"))) < 4:
        assert driver.poll() is None, (cli.folder / "printed.txt").read_text()
        assert time.monotonic() < deadline, "no image was rendered"
        time.sleep(0.002)
    driver.kill()
    driver.wait()
    assert not (run / "release").exists() and len(list(images.glob("*.png"))) < IMAGES
    done = cli.anew("run", "run.yaml", "--out", "run", timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    before = decided(run)
    shutil.rmtree(run / "release")
    (run / "internal" / "rejected.jsonl").unlink()
    again = cli.anew("run", "run.yaml", "--out", "run", timeout=400)
    assert again.returncode == 0, again.stdout + again.stderr
    return Made(cli, run, again.stdout, before)


def test_a_release_has_its_count_and_quotas_whatever_the_filters_refuse(made):
    table = pq.read_table(made.run / "release" / "manifest.parquet")
    rows = table.to_pylist()
    filtered = json.loads(table.schema.metadata[b"spti_ray.filters"])
    assert Counter(row["label"] for row in rows) == dict.fromkeys(LABELS, IMAGES // 2) and not filtered["missing"]
    refused = filtered["rejected"]
    assert refused.keys() <= {"blank", "duplicate", "mismatch"} and sum(refused.values()), "or the filters were idle"
    measured = [json.loads(line) for line in (made.run / "internal" / "rejected.jsonl").read_text().splitlines()]
    assert Counter(one["reason"] for one in measured) == refused
    for role, model in MODELS.items():
        assert {row[f"{role}_model"] for row in rows} == {model}
    said = f"filters: blank, duplicate, mismatch; {sum(refused.values())} render(s) were not accepted"
    sheet = (made.run / "release" / "datasheet.md").read_text()
    assert said in made.printed and said.removeprefix("filters: ") in sheet and "SIMULATED" not in sheet
    assert said.removeprefix("filters: ") in (made.run / "release" / "report.html").read_text()


def test_filters_decide_the_same_after_a_kill_and_when_a_lost_release_is_made_once_more(made):
    assert decided(made.run) == made.before


def test_held_out_records_cast_no_vote_and_have_no_vector(made):
    data = DataConfig(path="bundled:stickers", label_column="label", holdout=HELD_OUT)
    part = [load_shard(data, "record", 0, 1, LABELS, part=part) for part in ("voting", "held out")]
    voting, held_out = (sum(record.image is not None for record in records) for records in part)
    assert 99 <= held_out < voting
    problems = json.loads((made.run / "internal" / "problems.json").read_text())
    assert problems["held out"] >= held_out
    assert sum(problems.values()) == pq.read_metadata(package_file("data/stickers.parquet")).num_rows - voting
    for number in (0, 1):
        ((label, votes),) = [artifact.read(path) for path in artifact.complete(made.run / "generations", number)]
        noise = 6 * label.sigma * len(votes.counts_K) ** 0.5
        assert noise < held_out and abs(votes.counts_K.sum() - voting) < noise, "one vote of each, and noise"


def test_images_say_what_they_are_and_any_c2pa_reader_takes_their_signatures(made, tmp_path):
    assert "signatures: 24 images signed" in made.spti("verify", "run").stdout
    made.spti("export", "run", "--format", "imagefolder", "--out", tmp_path / "published")
    kept = {path.name: path.read_bytes() for path in (made.run / "release" / "images").iterdir()}
    exported = {path.name: path for path in (tmp_path / "published").rglob("*.png")}
    assert {name: path.read_bytes() for name, path in exported.items()} == kept
    certificate = json.loads((made.run / "release" / "privacy.json").read_text())
    for image in kept.values():
        xmp = image[image.index(b"<x:xmpmeta") : image.index(b"</x:xmpmeta>")].decode()
        for value in (SOURCE_TYPE, "differential privacy", certificate["run"]["id"], "spti:Epsilon"):
            assert value in xmp
    assert "FAIL" not in made.spti("verify", tmp_path / "published").stdout

    first = exported[sorted(exported)[0]]
    altered = bytearray(first.read_bytes())
    altered[altered.index(b"IDAT") + 40] ^= 1
    spoilt = shutil.copytree(tmp_path / "published", tmp_path / "spoilt") / first.relative_to(tmp_path / "published")
    spoilt.write_bytes(altered)
    assert "FAIL" in made.spti("verify", tmp_path / "spoilt", code=1).stdout

    python = tmp_path / "alone" / "bin" / "python"
    for arguments in (
        ("venv", "--quiet", tmp_path / "alone"),
        ("pip", "install", "--quiet", "--python", python, f"c2pa-python=={constraints('cpu')['c2pa-python']}"),
    ):
        done = ask(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    read = subprocess.run(
        [python, "-I", "-c", READ_ALONE, *exported.values(), spoilt],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    state, failures, _ = found.pop(str(spoilt))
    assert state == "Invalid" and "assertion.dataHash.mismatch" in failures
    assert len(found) == IMAGES
    for state, failures, action in found.values():
        assert state == "Valid" and failures == ["signingCredential.untrusted"], "signed, by nobody who is known"
        assert action["digitalSourceType"] == SOURCE_TYPE and action["softwareAgent"]["name"] == MODELS["renderer"]


@pytest.mark.parametrize("name", TASKS)
def test_a_figure_is_charged_once_and_proved_with_the_release(made, name):
    task = made.cli.folder / f"{name}.yaml"
    task.write_text(yaml.safe_dump(TASKS[name]))
    charged = kinds(made)["RESERVED"]
    printed = made.spti("measure", "run", "--task", task.name).stdout
    folder = made.run / "measures" / name
    answer, certificate = (json.loads((folder / file).read_text()) for file in ("figure.json", "privacy.json"))
    assert kinds(made)["RESERVED"] == charged + 1 and f"{answer['ratio']:.4f}" in printed
    assert answer["of_these"][0] <= answer["ratio"] <= answer["of_these"][1]
    assert {"accuracy": 0.5, "coverage": 0.1}[name] < answer["ratio"] < 1.05
    assert answer["facts"]["embedder_voted"] == ("embedder" not in TASKS[name])
    released = json.loads((made.run / "release" / "privacy.json").read_text())
    assert certificate["origin"]["runs"] == [released["run"]["id"]] and certificate["epsilon"] > 4
    entries = made.ledger.entries()
    again = made.spti("measure", "run", "--task", task.name).stdout
    assert printed.endswith(again) and made.ledger.entries() == entries
    proof = made.spti("verify", folder).stdout
    assert "ok   figure: " in proof and "FAIL" not in proof
    made.spti("verify", "run", "--quiet")


def kinds(made: Made) -> Counter[str]:
    return Counter(entry.kind for entry in made.ledger.entries())


def test_an_audit_of_contamination_is_recorded_and_for_the_owner_alone(made):
    charged = kinds(made)["RESERVED"]
    done = made.spti("audit", "--contamination", "run")
    assert kinds(made)["RESERVED"] == charged
    assert done.stdout == f"for the owner only: {Path('run', 'internal', 'contamination.html')}\n"
    for name in ("contamination.html", "contamination.json"):
        assert stat.S_IMODE((made.run / "internal" / name).stat().st_mode) == 0o600
    document = json.loads((made.run / "internal" / "contamination.json").read_text())
    assert [found["name"] for found in document["sets"]] == ["release", "generation 0"]
    assert not document["same_records"]
    for found in document["sets"]:
        assert 0.2 < found["membership"]["auc"] < 0.8
        assert [copies["flagged"] for copies in found["copies"]] == [False, False], (
            "the bundled models saw none of them"
        )
    (run,) = [past for past in history(made.ledger.entries()) if not past.origin]
    assert run.evaluated_by == ("spti audit --contamination, judged by bundled:sticker-blip",)
    made.spti("verify", "run", "--quiet")

"""Bad input and spent budgets: one clear line, the documented exit code, and nothing lost."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spti_ray.dp.file_chain import verify

CANARY = "canary-9f3b"


def _refused(done, code: int) -> str:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and done.stderr.strip().count("\n") == 0
    return done.stderr


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("privacy.epsilom=1", "did you mean 'epsilon'"),
        ("privacy.epsilon=-1", "privacy.epsilon"),
        ("privacy.delta=1", "privacy.delta"),
        ("evolution.candidates=0", "evolution.candidates"),
        ("privacy.votes_per_record=25", "votes_per_record is 25"),
        ("data.path=nowhere", "data.path"),
        ("data.image_column=imago", "data.image_column"),
        ("evolution.voting=imagine", "evolution.voting"),
        ("runtime.engines=gpu", "runtime.engines"),
        ("runtime.engines.renderer.stepz=3", "runtime.engines.renderer"),
    ],
)
def test_a_bad_setting_is_refused_by_name_before_anything_is_written(cli, setting, hint):
    line = _refused(cli(*cli.run_arguments("run", setting)), 2)
    assert hint in line
    assert not (cli.folder / "ledger").exists() and not (cli.folder / "run" / "generations").exists()


def test_a_folder_without_images_is_refused(cli):
    (cli.folder / "empty").mkdir()
    (cli.folder / "empty" / "notes.txt").write_text("no image")
    assert "data.path" in _refused(cli(*cli.run_arguments("run", "data.path=empty")), 2)


def test_a_run_that_does_not_fit_the_lifetime_budget_is_refused_before_models_load(cli):
    line = _refused(cli.anew(*cli.run_arguments("run", "dataset.lifetime_epsilon=1")), 3)
    assert "lifetime epsilon 1" in line
    assert "RESERVED" not in [entry.kind for entry in verify(cli.folder / "ledger" / "stickers.jsonl")]


def test_the_refusal_names_settings_that_are_then_accepted(cli):
    refused = _refused(cli(*cli.run_arguments("run", "dataset.lifetime_epsilon=1")), 3)
    fits = re.findall(r"privacy\.epsilon=([\d.]+)", refused)[0]
    _, config, _, _, *settings = cli.run_arguments("run", "dataset.lifetime_epsilon=1", f"privacy.epsilon={fits}")
    planned = cli("plan", config, *settings)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert float(fits) <= 1 and "REFUSED" not in planned.stdout


def test_an_id_that_nobody_registered_is_refused_where_registration_is_required(cli):
    required = ("dataset.registration=required", "dataset.lifetime_epsilon=8")
    line = _refused(cli(*cli.run_arguments("run", *required)), 2)
    assert "'stickers' is not registered" in line and "spti ledger register stickers" in line
    assert not (cli.folder / "ledger").exists(), "not even an empty ledger for a mistyped id"
    made = cli("ledger", "register", "stickers", "--lifetime-epsilon", "20", "--delta", "1e-6", "--ledger", "ledger")
    assert made.returncode == 0 and "epsilon 20 at delta 1e-06" in made.stdout
    # It is found from now on, and its budget holds whatever the configuration says.
    assert "registered with lifetime_epsilon 20" in _refused(cli(*cli.run_arguments("run", *required)), 1)


def test_resources_that_never_arrive_end_the_run(cli):
    done = cli(
        *cli.run_arguments(
            "run",
            "runtime.engines=embedded",
            "runtime.engines.renderer.num_gpus=1",
            "runtime.placement_timeout_s=2",
            on_ray=True,
        )
    )
    assert "GPU" in _refused(done, 4)


def test_an_altered_ledger_line_stops_the_run_and_is_found_by_verify(finished, cli):
    lines = finished.ledger.read_text().splitlines()
    lines[2] = lines[2].replace('"sigma":', '"sigma":1')
    (cli.folder / "ledger").mkdir()
    altered = cli.folder / "ledger" / "stickers.jsonl"
    altered.write_text("\n".join(lines) + "\n")
    assert "line 3" in _refused(cli.anew("ledger", "verify", str(altered)), 1)
    assert "line 3" in _refused(cli(*cli.run_arguments("run")), 1)
    assert altered.read_text().splitlines() == lines, "never repaired silently"


def test_a_folder_that_is_no_run_is_left_alone(cli):
    (cli.folder / "run").mkdir()
    (cli.folder / "run" / "thesis.tex").write_text("precious")
    assert "not empty" in _refused(cli(*cli.run_arguments("run")), 2)
    assert [path.name for path in (cli.folder / "run").iterdir()] == ["thesis.tex"]


def test_a_second_driver_in_the_same_folder_is_refused(cli):
    from spti_ray.config.loading import ConfigError, load_config
    from spti_ray.runs.folder import RunDir

    config = load_config(Path(cli.run_arguments("run")[1]), ["runtime.engines=fake"])
    first = RunDir.open(cli.folder / "run", config)
    with pytest.raises(ConfigError, match="another spti run"):
        RunDir.open(cli.folder / "run", config)
    first.unlock()
    RunDir.open(cli.folder / "run", config).unlock()


def _bad_images(folder: Path) -> dict[str, int]:
    """Two good images among every kind of trouble; returns the record index of each file."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)
    good = Image.fromarray(pixels)
    buffer = io.BytesIO()
    good.save(buffer, "PNG")
    (folder / "a-zero.png").write_bytes(b"")
    (folder / "b-text.jpg").write_text(f"not an image {CANARY}")
    (folder / "c-truncated.png").write_bytes(buffer.getvalue()[:200])
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    (folder / "d-bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    good.convert("P").save(folder / "e-palette.png")
    good.convert("CMYK").save(folder / "f-cmyk.jpg")
    Image.fromarray((pixels[..., 0].astype(np.uint16)) * 257).save(folder / "g-16-bit.png")
    good.save(folder / "h-animated.gif", save_all=True, append_images=[good.rotate(90)])
    good.convert("RGBA").save(folder / "i-transparent.png")
    good.save(folder / f"j-{CANARY}.png")
    return {path.name: index for index, path in enumerate(sorted(folder.iterdir()))}


def test_data_in_which_nobody_can_vote_cost_nothing(cli):
    (cli.folder / "images").mkdir()
    Image.new("RGB", (8, 8)).save(cli.folder / "images" / "1.png")
    (cli.folder / "images" / "metadata.csv").write_text(f"file_name,kind\n1.png,{CANARY}\n")
    labels = 'evolution.labels=[{"name": "cat", "share": 0.5}, {"name": "dog", "share": 0.5}]'
    arguments = cli.run_arguments("run", "data.path=images", "data.label_column=kind", labels)
    done = cli(*arguments)
    assert done.returncode == 2 and "no record of this data set can vote" in done.stderr, done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert json.loads((cli.folder / "run" / "internal" / "problems.json").read_text()) == {"no listed label": 1}
    states = [json.loads(line)["kind"] for line in (cli.folder / "ledger" / "stickers.jsonl").read_text().splitlines()]
    assert states == ["REGISTERED", "OPENED"]
    (cli.folder / "images" / "metadata.csv").write_text("file_name,kind\n1.png,dog\n")
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr


def test_bad_images_cast_no_vote_and_are_told_by_index_in_the_internal_report_only(cli):
    (cli.folder / "images").mkdir()
    index = _bad_images(cli.folder / "images")
    done = cli(*cli.run_arguments("run", "data.path=images", "evolution.generations=1"))
    assert done.returncode == 0, done.stderr
    report = (cli.folder / "run" / "internal" / "ingest.jsonl").read_text()
    refused = ["a-zero.png", "b-text.jpg", "c-truncated.png", "d-bomb.png"]
    assert [f'"record": {index[name]},' in line for name, line in zip(refused, report.splitlines(), strict=True)] == [
        True
    ] * 4
    everything = done.stdout + done.stderr + report
    for path in (cli.folder / "run").rglob("*"):
        assert CANARY not in path.name
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
    assert CANARY not in everything
    assert "record" not in done.stdout.replace("records that could not be used", "").replace("per record", "")

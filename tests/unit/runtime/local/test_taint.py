"""No canary of the private side is in anything that a run on local processes leaves or prints, all loggers at DEBUG.

As tests/e2e/test_taint.py on Ray: careless engines, and faults with private content in their text.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.taint.data import LISTED, plant_folder
from tests.taint.local import LocalRun
from tests.taint.scan import CORE


@pytest.fixture
def run(home: Path, tmp_path: Path) -> LocalRun:
    return LocalRun(home, tmp_path)


def test_a_run_with_careless_engines_leaves_nothing_private_anywhere(run):
    """Engines print, log, warn with and fail on private content; each record is tried again, and there is a release."""
    run.configure(evolution={"labels": [{"name": LISTED}]})
    plant_folder(run.data)
    faults = {"captioner": ("chained", 1), "image_embedder": ("SystemExit", 2), "text_embedder": ("Panic", 1)}
    assert run.start(faults) == (0, [])
    assert run.leaks() == []
    # The canaries did go where they may: captions exist, and reached the private side of the text embedder.
    for role in ("captioner", "image_embedder", "text_embedder"):
        assert f"{CORE}pixels" in run.noted("private", role) and run.noted("private", role).count(CORE) > 10
    assert run.noted("public", "writer") and run.noted("public", "renderer")
    assert run.noted("public", "text_embedder") and run.noted("public", "image_embedder")
    assert not run.noted("private", "writer") and not run.noted("private", "renderer")
    assert "was asked for" in (run.folder / "left" / "printed.txt").read_text(), "public engines may be heard"
    measured_without_a_leak(run)


def measured_without_a_leak(run: LocalRun) -> None:
    """`spti measure` of the finished run. A shard that fails costs a spare slot, as in a vote."""
    task = {"task": "coverage", "epsilon": 4.0, "radius": 0.5, "spare_slots": 1, "by_class": True}
    before = len(run.noted("private", "image_embedder"))
    faults = {"image_embedder": ("SystemExit", 2), "spti_ray.private.shard.cast_answers": ("SystemExit", 9)}
    assert run.start(faults, task=task) == (1, ["spti: shard 0: answering failed (SystemExit)"])
    assert len(run.noted("private", "image_embedder")) > before, "the careless engine saw the images"
    assert run.start(task=task) == (0, [])
    assert (run.out / "measures" / "task" / "privacy.json").exists() and run.leaks() == []


def test_captions_that_are_rendered_reach_the_renderer_and_nothing_else(run):
    run.configure(
        method="captions", privacy={"allow_not_private": True}, evolution={"labels": [{"name": LISTED}], "lookahead": 0}
    )
    plant_folder(run.data)
    assert run.start({"captioner": ("chained", 1), "renderer": ("SystemExit", 1)}) == (0, [])
    assert run.leaks() == []
    assert run.noted("private", "captioner") and f"{CORE}pixels" in run.noted("private", "renderer")
    for role in ("captioner", "renderer", "writer", "image_embedder", "text_embedder"):
        assert not run.noted("public", role), "nothing passes the public side"


def test_a_check_leaves_what_is_private_on_its_page_and_nowhere_else(run):
    run.configure(evolution={"labels": [{"name": LISTED}]})
    plant_folder(run.data)
    page = run.out / "internal" / "check.html"
    code, lines = run.start({"spti_ray.private.survey.pixel_format": ("ValueError", 9)}, command="check")
    assert code == 1 and "shard 0: preparing failed (ValueError)" in lines[0]
    page.unlink()
    assert run.leaks() == []
    faults = {"captioner": ("chained", 1), "image_embedder": ("SystemExit", 2), "text_embedder": ("Panic", 1)}
    assert run.start(faults, command="check") == (0, [])
    assert CORE in page.read_text(), "the owner is told the names"
    page.unlink()
    assert run.leaks() == []
    assert f"{CORE}pixels" in run.noted("private", "captioner") and not run.noted("public", "image_embedder")


FATAL: list[tuple[str, str, str]] = [
    # (function of the private side or engine, error, what the one line says)
    ("spti_ray.private.record.decode", "Panic", "shard 0: preparing failed (Panic)"),
    ("spti_ray.private.view_store.atomic_file", "OSError", "shard 0: preparing failed (OSError)"),
    ("captioner", "EngineDead", "the process for private images ended with exit code 41; the same command goes on"),
    ("spti_ray.private.shard.cast_votes", "SystemExit", "shard 0: voting failed (SystemExit)"),
]


def test_each_fault_ends_in_one_line_and_the_run_goes_on_in_the_end(run):
    """The last comes after the charge and costs a spare slot."""
    run.configure(evolution={"labels": [{"name": LISTED}]})
    plant_folder(run.data)
    for place, error, said in FATAL:
        code, lines = run.start({place: (error, 9)})
        assert code == 1 and len(lines) == 1 and said in lines[0], lines
    assert run.start() == (0, [])
    assert run.leaks() == []

"""Whole runs on local processes whose renderer is bad: what is filtered is replaced, counted and told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from spti_ray.config import Config, FiltersConfig
from spti_ray.config.filters import BlankFilter
from spti_ray.config.identity import config_sha256
from spti_ray.dp.entries import Reserved
from spti_ray.dp.ledger import Ledger
from spti_ray.driver.driver import run_config
from spti_ray.errors import NothingMade
from spti_ray.public import rendering
from spti_ray.public.filtered import FILTERS_KEY, Filtered, filtered_in
from spti_ray.public.released_files import models_in
from spti_ray.release.verify import release_and_chain, verify_release
from spti_ray.runs.refinement import refined
from tests.local_runs import made_by, run

FILTERS: dict[str, Any] = {"blank": True, "duplicate": True, "mismatch": {"others": 4, "max_rank": 3}}

pytestmark = pytest.mark.usefixtures("kept")

Local = Callable[..., Config]


class Crash(BaseException):
    """The driver stops here."""


def engines(**bad: float) -> dict[str, Any]:
    """A renderer with these shares of bad renders, and embedders that have one space."""
    fakes = {"writer": {"kind": "fake-writer", "model": "SIMULATED"}}
    ours = {"renderer": "PlantingRenderer", "image_embedder": "JointImages", "text_embedder": "JointTexts"}
    made = {
        role: {"kind": f"tests.filter_engines:{name}", "model": "SIMULATED", "batch_size": 3}
        for role, name in ours.items()
    }
    made["renderer"]["options"] = bad
    return {**fakes, **made, "captioner": {"kind": "fake-captioner", "model": "SIMULATED"}}


def settings(filters: dict[str, Any] | None = FILTERS, **bad: float) -> dict[str, Any]:
    release: dict[str, Any] = {"images": 10, "images_per_text": 2, "filters": filters}
    return {"runtime__engines": engines(**bad), "release": release}


def told(out: Path) -> Filtered:
    found = filtered_in(pq.read_table(out / "release" / "manifest.parquet"))
    assert found is not None
    return found


BAD = {"blank": 0.25, "same": 0.25}


def test_what_is_filtered_is_counted_wherever_a_release_is_described(local, tmp_path):
    # Real noise, so that which texts win is open; that no render of ten is blank, next to impossible.
    config = local(**settings(blank=0.7, same=0.1))
    release = run(config, tmp_path / "run", noise=None)
    rows = pq.read_table(release / "manifest.parquet").to_pylist()
    found = told(tmp_path / "run")
    assert len(rows) == 10
    assert found.rejected["blank"] and sum(found.rejected.values()) > 1 and found.asked_for == 10
    (line, *_) = found.lines()
    assert f"{sum(found.rejected.values())} render(s) were not accepted" in line
    sheet, page = ((release / name).read_text() for name in ("datasheet.md", "report.html"))
    assert "**Filtered images.**" in sheet and "no privacy was spent" in sheet
    assert f"{sum(found.rejected.values())} render(s) were not accepted" in page
    checks = {check.field: check for check in verify_release(*release_and_chain(tmp_path / "run", None))}
    assert all(check.holds for check in checks.values())
    assert f"{10 - len(found.kept)} images are accepted" in checks["release.filters"].detail
    assert "what the embedders saw is not checked again" in checks["release.filters"].detail


def test_a_release_of_which_no_image_was_accepted_is_proved_too(local, tmp_path):
    out = tmp_path / "run"
    run(local(**settings({"blank": {"max_deviation": 127}})), out, noise=None)
    assert len(told(out).kept) == 10
    (check,) = [check for check in verify_release(*release_and_chain(out, None)) if check.field == "release.filters"]
    assert check.holds and "0 images are accepted, 10 stay" in check.detail


def test_a_run_that_stops_at_any_image_makes_the_release_that_it_would_have_made(local, tmp_path, monkeypatch):
    config = local(**settings(**BAD))
    run(config, tmp_path / "whole")
    whole, put = made_by(tmp_path / "whole"), rendering._Rendering._put
    added = rendering.Rejections.add
    for stop in (3, 6):
        left = [stop]

        def count(act: Callable[..., None], *given: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise Crash
            left[0] -= 1
            act(*given)

        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(rendering._Rendering, "_put", lambda *given: count(put, *given))
            patch.setattr(rendering.Rejections, "add", lambda *given: count(added, *given))
            run(config, tmp_path / "stopped")
    run(config, tmp_path / "stopped")
    assert made_by(tmp_path / "stopped") == whole
    assert told(tmp_path / "stopped") == told(tmp_path / "whole")


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "pe-image", "evolution__voting": "image"},
        {"evolution__voting": "caption"},
        {"release__texts": "varied", "evolution__themes": [4, 4]},
        {"method": "random"},
        {"privacy__epsilon": float("inf"), "privacy__allow_not_private": True},
    ],
    ids=str,
)
def test_every_kind_of_run_is_filtered_and_has_the_engines_for_it(local, tmp_path, changes):
    varied = (
        {"release": settings()["release"] | {"texts": changes["release__texts"]}} if "release__texts" in changes else {}
    )
    changes = {name: value for name, value in changes.items() if name != "release__texts"}
    folder = run(local(**settings(blank=0.3) | varied | changes), tmp_path / "run")
    table = pq.read_table(folder / "manifest.parquet")
    found = filtered_in(table)
    assert found is not None and found.rejected.get("blank") and table.num_rows == 10
    assert {"image_embedder", "text_embedder"} <= set(models_in(table))
    assert len(list((folder / "images").iterdir())) == 10


def test_more_images_of_a_run_are_filtered_by_the_filters_that_are_given(local, tmp_path):
    run(local(**settings(None, blank=0.3)), tmp_path / "run")
    again = refined(tmp_path / "run", overrides=["release.filters.blank=true"])
    out = run(again, tmp_path / "again")
    found = told(tmp_path / "again")
    assert found.rejected["blank"] and pq.read_table(out / "manifest.parquet").num_rows == 10
    # What was released and is acceptable is taken as it was.
    before = {path.read_bytes() for path in (tmp_path / "run" / "release" / "images").iterdir()}
    after = {path.read_bytes() for path in (out / "images").iterdir()}
    assert len(before & after) >= 10 - sum(found.rejected.values())


def test_a_release_whose_images_contradict_its_filters_does_not_verify(local, tmp_path):
    release = run(local(**settings(None, blank=0.8)), tmp_path / "run", noise=None)
    path = release / "manifest.parquet"
    table = pq.read_table(path)
    filters = FiltersConfig(blank=BlankFilter())
    claim = Filtered(filters.model_dump(mode="json"), 10, {}, 0, 0, 0, {}, 0)
    said = {**table.schema.metadata, FILTERS_KEY: json.dumps(claim.document()).encode()}
    pq.write_table(table.replace_schema_metadata(said), path)
    checks = {check.field: check for check in verify_release(*release_and_chain(tmp_path / "run", None))}
    assert not checks["release.filters"].holds and "is blank" in checks["release.filters"].detail


def test_a_renderer_that_only_makes_blank_images_ends_and_says_so(local, tmp_path):
    said = Console(file=io.StringIO(), width=200)
    release = run_config(local(**settings({"blank": True}, blank=1.0)), tmp_path / "run", said)
    line = "WARNING: 10 of 10 images stay although no render of theirs was accepted (10 blank)"
    assert line in said.file.getvalue() and line in (release / "datasheet.md").read_text()


def test_embedders_that_have_no_common_space_end_a_run_before_anything_is_charged(local, tmp_path):
    apart = engines() | {"image_embedder": {"kind": "tests.filter_engines:NarrowImages", "model": "SIMULATED"}}
    config = local(**settings() | {"runtime__engines": apart})
    with pytest.raises(NothingMade, match="no common space"):
        run(config, tmp_path / "run", noise=None)
    events = [entry.event for entry in Ledger(config.ledger.location, config.dataset.id).entries()]
    assert events and not any(isinstance(event, Reserved) for event in events)


def test_configurations_without_filters_have_the_hash_that_they_had(local):
    without, off = local(), local(release={"images": 6, "filters": None})
    assert config_sha256(without) == config_sha256(off)
    assert config_sha256(local(release={"images": 6, "filters": {"blank": True}})) != config_sha256(off)

"""`spti_ray.run`, without a run: what it makes of its arguments, and what it gives back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

import spti_ray
from spti_ray.config import Config
from spti_ray.config.identity import config_sha256, resolved
from spti_ray.config.loading import ConfigError, parse_config
from spti_ray.driver import driver
from tests.unit.config.test_config import MINIMAL


@pytest.fixture
def asked(monkeypatch) -> list[tuple[Config, Path]]:
    """What the driver is asked to run."""
    calls: list[tuple[Config, Path]] = []

    def run_config(config: Config, out: Path, sign: Callable[[bytes], bytes] | None) -> Path:
        calls.append((config, out) if sign is None else (config, out, sign))
        return out / "release"

    monkeypatch.setattr(driver, "run_config", run_config)
    return calls


def test_a_mapping_a_file_a_bundled_name_and_a_config_are_taken(asked, tmp_path):
    file = tmp_path / "run.yaml"
    wanted = parse_config(MINIMAL | {"privacy": {"epsilon": 3.0, "delta": 1e-5}})
    file.write_text(json.dumps(MINIMAL))
    for config in (MINIMAL, file, str(file), parse_config(MINIMAL)):
        release = spti_ray.run(config, tmp_path / "out", ["privacy.epsilon=3"])
        assert config_sha256(asked[-1][0]) == config_sha256(wanted)
        assert (release.folder, release.run, release.stays_inside) == (tmp_path / "out/release", tmp_path / "out", "")
    spti_ray.run("bundled:stickers")
    assert asked[-1][0].title == "Stickers"


def test_whoever_signs_is_handed_on(asked):
    spti_ray.run(MINIMAL, sign=bytes.upper)
    assert asked[-1][2] is bytes.upper


def test_the_given_mapping_is_left_as_it_was(asked):
    given = copy.deepcopy(MINIMAL)
    spti_ray.run(given, overrides=["evolution.generations=7", "runtime.shards=3"])
    assert given == MINIMAL and asked[-1][0].evolution.generations == 7


def test_a_mapping_that_is_nested_without_end_is_refused_in_one_line(asked):
    deep: dict = {}
    for _ in range(5_000):
        deep = {"a": deep}
    with pytest.raises(ConfigError, match=r"^the settings can't be used: it is nested more than 60 levels deep, or "):
        spti_ray.run(MINIMAL | {"runtime": deep})
    assert not asked


def test_the_same_settings_find_the_same_run_and_others_do_not(asked):
    first = spti_ray.run(MINIMAL).run
    assert first.parent == Path("runs") and first.name.startswith("toys-")
    # Where and how wide it runs may change between two starts of one run.
    assert spti_ray.run(MINIMAL, overrides=["runtime.shards=5"]).run == first
    assert spti_ray.run(MINIMAL, overrides=["privacy.epsilon=2"]).run != first


def test_a_bad_setting_is_refused_in_one_line_before_anything_starts(asked):
    with pytest.raises(ConfigError, match=r"^privacy\.epsilonn: unknown key; did you mean 'epsilon'\?$"):
        spti_ray.run(MINIMAL, overrides=["privacy.epsilonn=2"])
    assert asked == []


def release_at(folder: Path, certificate: dict[str, float] | None) -> None:
    (folder / "images").mkdir(parents=True)
    rows = []
    for name in ("b.png", "a.png"):
        Image.new("RGB", (8, 8)).save(folder / "images" / name)
        rows.append(json.dumps({"file_name": f"images/{name}", "text": "<x>"}))
    if certificate is not None:
        (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n")
        (folder / "privacy.json").write_text(json.dumps(certificate))


def test_a_release_has_its_images_in_order_its_certificate_and_a_view_for_notebooks(tmp_path):
    release_at(tmp_path / "<r>", {"epsilon": 2.0, "delta": 1e-5})
    release = spti_ray.Release(tmp_path / "<r>", tmp_path)
    assert [path.name for path in release.images] == ["b.png", "a.png"]
    assert release.certificate == {"epsilon": 2.0, "delta": 1e-5}
    shown = release._repr_html_()
    assert "epsilon 2, delta 1e-05" in shown and shown.count("<img ") == 2 and "&lt;r&gt;" in shown
    assert "NOT PRIVATE" not in shown


def test_what_is_not_private_is_shown_with_a_warning(tmp_path):
    release_at(tmp_path, None)
    release = spti_ray.Release(tmp_path, tmp_path, "images by spti without noise (epsilon inf)")
    assert release.certificate is None and len(release.images) == 2
    assert "NOT PRIVATE" in release._repr_html_() and "without noise" in release._repr_html_()


def test_the_package_has_no_other_names_by_surprise():
    with pytest.raises(AttributeError, match="no attribute 'ran'"):
        spti_ray.ran  # noqa: B018


def test_a_run_that_was_named_after_another_place_of_its_ledger_is_found(asked, tmp_path, monkeypatch):
    """The bundled configurations said `runs/ledger` before: a cell that is run after an update is not charged again."""
    monkeypatch.chdir(tmp_path)
    then = parse_config(MINIMAL | {"ledger": {"path": "runs/ledger"}})
    folder = Path("runs") / f"toys-{config_sha256(then)[:12]}"
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(yaml.safe_dump({"run": "r", "config": resolved(then)}))
    assert spti_ray.run(MINIMAL).run == folder
    assert spti_ray.run(MINIMAL, overrides=["privacy.epsilon=2"]).run != folder


@pytest.mark.parametrize(
    "certificate",
    [
        {"epsilon": 6.4581234, "delta": 1e-5, "parts": [{"epsilon": 4.0}]},
        {"epsilon": 4.0, "delta": 1e-5, "origin": {"epsilon_together": 6.4581234}},
    ],
    ids=["format 3", "format 2"],
)
def test_a_notebook_shows_the_releases_figure_rounded_upwards(tmp_path, certificate):
    release_at(tmp_path / "release", certificate)
    shown = spti_ray.Release(tmp_path / "release", tmp_path)._repr_html_()
    assert "epsilon 6.45813," in shown and "epsilon 4" not in shown


def test_a_notebook_shows_no_file_outside_of_the_release(tmp_path):
    release_at(tmp_path / "release", {"epsilon": 2.0, "delta": 1e-5})
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "release" / "metadata.jsonl").write_text('{"file_name": "../secret.png", "text": "x"}\n')
    with pytest.raises(ConfigError, match="outside of the release"):
        spti_ray.Release(tmp_path / "release", tmp_path)._repr_html_()


def test_no_module_takes_the_place_of_what_the_package_exports():
    """A package `spti_ray/run` would become `spti_ray.run` as soon as anything imports it."""
    folder = Path(str(spti_ray.__file__)).parent
    assert not [name for name in spti_ray.__all__ if (folder / name).exists() or (folder / f"{name}.py").exists()]

"""A place that holds no run is told as what it is."""

from __future__ import annotations

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.runs.run_file import read_run, write_run_file


def refusal(path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_run(path)
    return str(caught.value)


def test_what_is_no_run_is_told_with_what_to_name_instead(tmp_path):
    run = tmp_path / "a"
    for name in ("a/release", "a/internal", "other", "published"):
        (tmp_path / name).mkdir(parents=True)
    write_run_file(run, {"run": "7", "config": {}})
    for file in ("manifest.parquet", "datasheet.md"):
        (tmp_path / "published" / file).touch()
        (run / "release" / file).touch()
    (tmp_path / "my.yaml").write_text("data: {}\n")
    (tmp_path / "other" / "run.yaml").write_text("data: {}\n")
    part = "is a part of a run; name the run's folder, "
    assert refusal(run / "release") == f"{run / 'release'}: {part}{run}"
    assert refusal(run / "run.yaml") == f"{run / 'run.yaml'}: is a file; name a run's folder, such as {run}"
    assert refusal(tmp_path / "my.yaml") == f"{tmp_path / 'my.yaml'}: is a file; name a run's folder"
    assert refusal(tmp_path / "no").startswith(f"{tmp_path / 'no'}: there is no such folder; name a run's")
    assert "is a release without its run (no run.yaml), which spti verify, " in refusal(tmp_path / "published")
    assert "run.yaml: is no run's file, as spti run writes it" in refusal(tmp_path / "other")
    assert refusal(tmp_path).startswith(f"{tmp_path}: holds no run (no run.yaml); name a run's folder")

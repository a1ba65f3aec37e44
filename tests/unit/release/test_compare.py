"""`spti compare`: what differs between two runs, and what may not be shown as if it were public."""

import json
import shutil

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.errors import RunDamaged
from spti_ray.evaluate.result import EvaluationResult, Metric
from spti_ray.public.released_files import ManifestDamaged
from spti_ray.release.compare import INTERNAL_STATEMENT, compare_releases
from spti_ray.release.report.data import read_run as report_data
from tests.unit.release.report.test_report import CERTIFICATE, make_run


def evaluated(run, value, size=50, judge="inception"):
    metric = Metric(name="frechet", value=value, low=value - 1, high=value + 1, better="lower", about="of canary-about")
    result = EvaluationResult(
        name="release",
        judge={"kind": "inception", "model": judge, "revision": "1"},
        seed=0,
        dimension=2048,
        num_given=size,
        num_generated=size,
        num_reference=100,
        num_held_out=100,
        num_unusable=0,
        metrics=(metric,),
    )
    folder = run / "internal" / "evaluation"
    folder.mkdir(parents=True)
    (folder / "release.json").write_text(json.dumps({"results": [result.model_dump(mode="json")]}))


@pytest.fixture
def pair(tmp_path):
    a = make_run(tmp_path / "a")
    b = make_run(tmp_path / "b", {**CERTIFICATE, "epsilon": 2.0}, num_candidates=6, images=3)
    return a, b


def test_settings_certificates_and_texts_stand_side_by_side(pair):
    found = compare_releases(*pair).to_json()
    assert found["settings"] == {
        "evolution.candidates": {"a": 8, "b": 6},
        "release.images": {"a": 4, "b": 3},
    }
    assert found["certificate"]["epsilon"] == {"a": 1.0, "b": 2.0}
    assert found["certificate"]["mechanism.sigma"] == {"a": 2.0, "b": 2.0}
    # `make_run` releases the last texts: blue things 3, 2, 1, 0 and blue things 2, 1, 0.
    assert found["release"]["texts"] == {"a": 4, "b": 3} and found["release"]["common_texts"] == 3
    assert "internal" not in found
    lines = "\n".join(compare_releases(*pair).lines())
    assert "evolution.candidates  8  6" in lines and "in common: 3 texts" in lines and "metrics" not in lines


def test_a_run_is_as_itself(pair, tmp_path):
    shutil.copytree(pair[0], tmp_path / "copy")
    found = compare_releases(pair[0], tmp_path / "copy").to_json()
    assert found["settings"] == {} and found["release"]["common_texts"] == 4 == found["release"]["images"]["a"]
    assert found["release"]["common_images"] == 4


def test_metrics_are_shown_where_both_have_them_and_marked_internal(pair):
    a, b = pair
    evaluated(a, 30.0)
    assert not compare_releases(a, b).metrics, "one of the two was not evaluated"
    evaluated(b, 20.0)
    found = compare_releases(a, b).to_json()["internal"]
    assert found["statement"] == INTERNAL_STATEMENT and INTERNAL_STATEMENT.startswith(
        "internal: not differentially private"
    )
    (group,) = found["metrics"]
    assert group["judge"] == "inception" and group["doubts"] == []
    assert group["rows"][0]["a"] == {"value": 30.0, "low": 29.0, "high": 31.0}
    lines = list(compare_releases(a, b).lines())
    assert any(line.startswith("metrics, internal: not differentially private") for line in lines)
    assert any("frechet (lower)" in line and "30 [29, 31]" in line and "20 [19, 21]" in line for line in lines)


def test_metrics_that_are_not_of_one_size_are_doubted_and_other_judges_are_not_mixed(pair):
    a, b = pair
    evaluated(a, 30.0)
    evaluated(b, 20.0, size=40)
    assert compare_releases(a, b).metrics[0]["doubts"] == ["of different numbers of images: not comparable"]
    shutil.rmtree(b / "internal" / "evaluation")
    evaluated(b, 20.0, judge="dino")
    assert not compare_releases(a, b).metrics


def test_a_published_release_is_compared_without_settings_and_metrics(pair, tmp_path):
    a, b = pair
    evaluated(a, 30.0)
    evaluated(b, 20.0)
    shutil.copytree(b / "release", tmp_path / "published")
    found = compare_releases(a, tmp_path / "published")
    assert found.settings is None and not found.metrics and found.common_texts == 3
    assert any("a published release has no run.yaml" in line for line in found.lines())


def test_what_is_no_release_is_refused_in_one_line(pair, tmp_path):
    with pytest.raises(ConfigError, match="holds no finished run and no release"):
        compare_releases(pair[0], tmp_path)


@pytest.mark.parametrize("file", ["release/privacy.json", "run.yaml"])
def test_what_is_nested_without_end_is_one_line(pair, file):
    a, b = pair
    (a / file).write_text('{"a":' * 20_000)
    for error, use in (
        (ConfigError, lambda: compare_releases(a, b)),
        ((RunDamaged, ManifestDamaged), lambda: report_data(a)),
    ):
        with pytest.raises(error) as caught:
            use()
        assert str(caught.value).startswith(str(a)) and "\n" not in str(caught.value)


def test_epsilon_is_the_releases_in_every_format(pair):
    a, b = pair
    for folder, told in (
        (a, {"epsilon": 4.0, "achieved_epsilon": 3.99, "origin": {"epsilon_together": 6.458}}),
        (b, {"epsilon": 6.458, "achieved_epsilon": 6.458, "origin": {"epsilon_together": 6.458}, "parts": []}),
    ):
        path = folder / "release" / "privacy.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | told))
    found = compare_releases(a, b).to_json()["certificate"]
    assert found["epsilon"] == found["achieved_epsilon"] == {"a": 6.458, "b": 6.458}

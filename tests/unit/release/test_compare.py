"""`spti compare`: what differs between two runs, and what may not be shown as if it were public."""

import json
import shutil

import pytest
import yaml

from spti_ray.config.loading import ConfigError
from spti_ray.errors import RunDamaged
from spti_ray.evaluate.result import EvaluationResult, Metric
from spti_ray.public.released_files import ManifestDamaged
from spti_ray.release.compare import INTERNAL_STATEMENT, compare_releases
from spti_ray.release.report.data import read_run as report_data
from tests.unit.release.report.runs import CERTIFICATE, make_run


def evaluated(run, value, size=50, judge="inception", names=("frechet",), reference="of-set-1"):
    metrics = [
        Metric(name=name, value=value, low=value - 1, high=value + 1, better="lower", about="of canary-about")
        for name in names
    ]
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
        metrics=tuple(metrics),
        reference=reference,
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


@pytest.fixture
def ends(tmp_path):
    """Runs of generation 0 and of captions; not evaluated yet."""
    found = []
    for method in ("random", "captions"):
        run = make_run(tmp_path / method)
        document = yaml.safe_load((run / "run.yaml").read_text())
        document["config"]["method"] = method
        (run / "run.yaml").write_text(yaml.safe_dump(document))
        found.append(run)
    return found


def test_with_generation_0_and_captions_the_share_of_the_gap_stands_beside_the_distances(pair, ends):
    for run, value in zip((*pair, *ends), (20.0, 40.0, 50.0, 10.0), strict=True):
        evaluated(run, value, names=("frechet", "kid", "frechet_infinity"))
    (group,) = compare_releases(*pair, ends).to_json()["internal"]["metrics"]
    assert set(group["gap_closed"]) == {"kid", "frechet_infinity"}
    assert group["gap_closed"]["kid"]["a"]["value"] == 0.75 and group["gap_closed"]["kid"]["b"]["value"] == 0.25
    lines = list(compare_releases(*pair, ends).lines())
    (share,) = (line for line in lines if "share of the gap by kid" in line)
    assert "0.75 [0.7181, 0.7819]" in share and "0.25 [0.2181, 0.2819]" in share
    order = [row["name"] for row in group["rows"]]
    assert order == ["kid", "frechet_infinity", "frechet"], "what the number of images biases comes last"
    # One of the two runs may be an end itself: 0 and 1 by definition.
    (of_ends,) = compare_releases(*ends).to_json()["internal"]["metrics"]
    assert of_ends["gap_closed"]["kid"]["a"] == {"value": 0.0, "low": None, "high": None}
    assert "gap_closed" not in compare_releases(*pair).to_json()["internal"]["metrics"][0]


@pytest.mark.parametrize("captions", [50.0, 60.0])
def test_where_captions_are_not_nearer_than_generation_0_words_stand_for_the_share(pair, ends, captions):
    for run, value in zip((*pair, *ends), (20.0, 40.0, 50.0, captions), strict=True):
        evaluated(run, value, names=("kid",))
    found = compare_releases(*pair, ends)
    assert list(found.to_json()["internal"]["metrics"][0]["gap_closed"]["kid"]) == ["undefined"]
    lines = "\n".join(found.lines())
    assert "NOTE: by kid no share of the gap is defined: renders of captions are not nearer" in lines
    assert "share of the gap by kid" not in lines


def test_ends_of_another_private_set_size_or_judge_give_no_share(pair, ends):
    for other in ({"reference": "of-set-2"}, {"size": 40}, {"judge": "dino"}):
        for run in (*pair, *ends):
            shutil.rmtree(run / "internal" / "evaluation", ignore_errors=True)
        for run in (*pair, ends[0]):
            evaluated(run, 30.0, names=("kid",))
        evaluated(ends[1], 10.0, names=("kid",), **other)
        assert "gap_closed" not in compare_releases(*pair, ends).metrics[0]


def test_a_third_run_that_is_no_end_is_refused_in_one_line(pair):
    with pytest.raises(ConfigError, match="a third run is one of method random or captions"):
        compare_releases(*pair, [pair[0]])


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
    with pytest.raises(ConfigError, match="nowhere: there is no such folder; name a run's, or a release's"):
        compare_releases(pair[0], tmp_path / "nowhere")


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

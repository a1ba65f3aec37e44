"""What `spti evaluate` takes and refuses, before a model loads or a look is recorded."""

import html
import re
import shutil
import stat
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from spti_ray.config.loading import ConfigError
from spti_ray.errors import exit_code
from spti_ray.evaluate.command import EvaluationRequest, run_evaluation
from spti_ray.evaluate.lines import lead_line, table_lines
from spti_ray.evaluate.reference import EvaluationFailed
from spti_ray.internal_pages import data_uri
from spti_ray.models.bundled import ModelNotFound
from spti_ray.private.kinds import DataError
from spti_ray.private.survey import thumbnail
from spti_ray.runs.folder import RunDir


@pytest.fixture
def run(tmp_path, make_config, pictures_of):
    """A run without votes (a baseline) whose private data are a folder of pictures, and 20 images in its release."""
    for i, image in enumerate(pictures_of(60, 1)):
        (tmp_path / "data" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "data" / "a" / f"{i}.png")
    config = make_config(data__path=str(tmp_path / "data"), ledger__path=str(tmp_path / "ledger"))
    opened = RunDir.open(tmp_path / "run", config)
    images = opened.release / "images"
    images.mkdir(parents=True)
    for i, image in enumerate(pictures_of(20, 2)):
        Image.fromarray(image).save(images / f"{i}.png")
    files = [f"images/{i}.png" for i in range(20)]
    rows = {"file": files, "text": ["x"] * 20, "label": ["all"] * 20}
    pq.write_table(pa.table(rows), opened.release / "manifest.parquet")
    opened.unlock()
    return opened.path


@pytest.fixture
def fake_judges(judge, monkeypatch):
    from spti_ray.models import judges  # torch takes seconds to import

    class Pair:
        def similarities(self, images, texts):
            return judge.features(images) @ judge.features(images).T

        identity = judge.identity

    monkeypatch.setattr(judges, "open_judge", lambda name, gpu: judge)
    monkeypatch.setattr(judges, "open_image_text_judge", lambda name, gpu: Pair())


def test_the_runs_own_data_are_the_reference_and_the_figures_its_owners(run, fake_judges):
    said = []
    path, (result,) = run_evaluation(EvaluationRequest(run, resamples=5), said.append)
    assert path == run / "internal" / "evaluation" / "release.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (result.num_reference, result.num_held_out, result.independent) == (30, 30, True)
    assert said == ["this run is in no ledger (it charged nothing): no look was recorded"]
    lines = list(table_lines([result]))
    assert lines[0].startswith("internal: not differentially private") and any("frechet" in line for line in lines)


def test_nothing_is_computed_when_the_look_can_not_be_recorded(run, fake_judges):
    folder = run / "generations" / "00"
    folder.mkdir(parents=True)
    (folder / "histogram-ab.arrow").touch()
    with pytest.raises(ConfigError, match="can't be recorded"):
        run_evaluation(EvaluationRequest(run), lambda line: None)
    assert not (run / "internal" / "evaluation").exists()


def test_results_go_only_where_nobody_else_reads(run, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "notes").touch()
    for place, message in ((shared, "others can read"), (tmp_path / "data" / "a" / "figures", "among the images")):
        request = EvaluationRequest(tmp_path / "data" / "a", str(tmp_path / "data"), out=place)
        with pytest.raises(ConfigError, match=message):
            run_evaluation(request, lambda line: None)
    assert stat.S_IMODE(shared.stat().st_mode) != 0o700


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "release/figures"}, "inside a release"),
        ({"cache": "release/features"}, "--cache .*inside a release"),
        ({"directory": "release"}, "name the run's folder"),
        ({"directory": "nowhere"}, "no such folder"),
        ({"directory": "../data"}, "give --reference DATA, and --out"),
        ({"generation": 7}, "generation 7 is not there"),
        ({"generation": "all"}, "no generation has been voted on"),
        ({"candidates": True}, "--candidates needs --generation"),
        ({"name": "../x"}, "give a file name"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(run, change, message):
    places = {key: run / value for key, value in change.items() if key in {"directory", "out", "cache"}}
    with pytest.raises(ConfigError, match=message) as caught:
        run_evaluation(EvaluationRequest(**({"directory": run} | change | places)), lambda line: None)
    assert "\n" not in str(caught.value)
    assert not (run / "internal" / "evaluation").exists()


def test_a_reference_that_is_not_there_is_one_line(run):
    with pytest.raises(DataError, match="^--reference: '/no/such/data' does not exist"):
        run_evaluation(EvaluationRequest(run, reference="/no/such/data"), lambda line: None)


def test_a_folder_that_is_no_run_needs_no_ledger(run, tmp_path, fake_judges):
    said = []
    request = EvaluationRequest(tmp_path / "data" / "a", str(tmp_path / "data"), out=tmp_path / "private", resamples=5)
    path, (result,) = run_evaluation(request, said.append)
    assert path.name == "a.json" and "not a run" in said[0] and result.independent is None
    assert result["copied"].value == 1.0


def test_private_images_are_embedded_once_for_all_evaluations_that_share_a_cache(run, judge, fake_judges, tmp_path):
    embedded = []
    features = judge.features

    def counted(images):
        embedded.append(len(images))
        return features(images)

    judge.features = counted
    shutil.copytree(run, tmp_path / "other-run")
    cache = tmp_path / "shared"
    for folder in (run, tmp_path / "other-run"):
        run_evaluation(EvaluationRequest(folder, resamples=0, cache=cache), lambda line: None)
    assert embedded.count(60) == 1, "the reference has 60 images, and each release 20"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in cache.iterdir()] == [0o600]
    assert not (run / "internal" / "evaluation" / "cache").exists()


def test_held_out_images_reach_the_classifier(tmp_path, fake_judges, pictures_of):
    def folder(name, seed, n):
        for label, (low, high) in {"a": (0, 128), "b": (128, 256)}.items():
            (tmp_path / name / label).mkdir(parents=True)
            for i, image in enumerate(pictures_of(n, seed + low, low, high)):
                Image.fromarray(image).save(tmp_path / name / label / f"{i}.png")
        return str(tmp_path / name)

    images = tmp_path / "images"
    folder("images", 9, 20)
    request = EvaluationRequest(
        images, folder("data", 5, 40), held_out=folder("held-out", 6, 40), out=tmp_path / "private", resamples=5
    )
    _, (result,) = run_evaluation(request, lambda line: None)
    assert "80 held-out real images, which did not vote" in result["downstream_accuracy"].about
    assert result["downstream_ratio"].value == pytest.approx(1.0, abs=0.1)
    with pytest.raises(DataError, match="^--held-out: '/no/such/data' does not exist"):
        run_evaluation(replace(request, held_out="/no/such/data"), lambda line: None)
    with pytest.raises(EvaluationFailed, match="among those that voted"):
        run_evaluation(replace(request, held_out=str(tmp_path / "data")), lambda line: None)


def test_held_out_images_of_a_reference_without_labels_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr("spti_ray.evaluate.command._reference_settings", unlabelled)
    with pytest.raises(ConfigError, match="--held-out: only labels are tested on it"):
        run_evaluation(EvaluationRequest(run, held_out=str(tmp_path / "data")), lambda line: None)


def unlabelled(request, config):
    return config.data, "record", ("all",)


def test_labels_are_read_where_the_data_have_them(run, tmp_path, fake_judges, pictures_of):
    for i, image in enumerate(pictures_of(60, 5, 0, 90)):
        (tmp_path / "data" / "b").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "data" / "b" / f"{i}.png")
    _, (result,) = run_evaluation(EvaluationRequest(run, resamples=5), lambda line: None)
    assert "as a probe" in result["label_distance"].about


def test_the_page_has_pictures_and_is_the_owners(run, fake_judges):
    path, (result,) = run_evaluation(EvaluationRequest(run, resamples=5), lambda line: None)
    page = path.with_suffix(".html")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    text = page.read_text()
    assert text.index("Internal: not differentially private") < text.index("<h1>")
    assert lead_line(result) in html.unescape(text)
    private, release = text.split('id="records"')[1].split('id="pairs"')
    assert private.count("data:image/jpeg") == 2 * 20 and release.count("data:image/jpeg") == 2 * 10
    pictures = set(re.findall(r"data:image/jpeg;base64,[^\"]+", release))
    files = [Image.open(file) for file in (run / "release" / "images").iterdir()]
    assert pictures == {data_uri(thumbnail(np.asarray(file))) for file in files}, "of the release alone"


def test_no_image_is_embedded_twice(run, judge, fake_judges):
    embedded = []
    features = judge.features

    def counted(images):
        embedded.append(len(images))
        return features(images)

    judge.features = counted
    _, (first,) = run_evaluation(EvaluationRequest(run, resamples=5), lambda line: None)
    assert embedded == [60, 20, 20, 20], "the records, the release, and both for the score of texts"
    told = []
    _, (second,) = run_evaluation(
        EvaluationRequest(run, resamples=5), lambda line: None, lambda *step: told.append(step)
    )
    assert embedded[4:] == [20, 20] and second == first
    (kept,) = (run / "internal" / "evaluation" / "embeddings").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [what for what, _, _ in told] == ["loading the judges", "measuring release", "pictures"]
    kept.write_bytes(b"damaged")
    assert run_evaluation(EvaluationRequest(run, resamples=5), lambda line: None)[1] == [first]


def test_it_is_told_how_far_it_is_and_never_how_many_private_images_there_are(run, fake_judges):
    told = []
    run_evaluation(EvaluationRequest(run, resamples=0), lambda line: None, lambda *step: told.append(step))
    assert [what for what, _, _ in told] == [
        "loading the judges",
        "embedding the private images, for colours",
        "embedding release",
        "measuring release",
        "pictures",
    ]
    assert told[1][1:] == (0, 0) and told[2][1:] == (0, 20)


def test_the_unbiased_figures_lead(run, fake_judges):
    _, (result,) = run_evaluation(EvaluationRequest(run, resamples=5), lambda line: None)
    lines = list(table_lines([result]))
    kid = result["kid"]
    assert lines[2].startswith(f"KID {kid.value:.4g} [{kid.low:.4g} to {kid.high:.4g}], real images ")
    assert "extrapolated Fréchet distance" in lines[2]
    assert [line.split()[0] for line in lines[4:8]] == ["kid", "frechet_infinity", "cmmd", "frechet"]


def test_what_is_held_out_is_no_reference_and_not_called_unusable(run, tmp_path, fake_judges):
    settings = yaml.safe_load((run / "run.yaml").read_text())
    settings["config"]["data"]["holdout"] = 0.3
    (run / "run.yaml").write_text(yaml.safe_dump(settings))
    _, (result,) = run_evaluation(EvaluationRequest(run, resamples=0), lambda line: None)
    assert 40 <= result.num_reference + result.num_held_out < 60 and result.num_unusable == 0
    _, (result,) = run_evaluation(
        EvaluationRequest(run, reference=str(tmp_path / "data"), resamples=0), lambda line: None
    )
    assert result.num_reference + result.num_held_out == 60, "of other data nothing is held out"


@pytest.mark.parametrize("option", ["judges", "clip"])
def test_a_judge_that_is_not_there_is_told_before_the_libraries_load_or_a_look_is_recorded(run, tmp_path, option):
    named = {"judges": ("./nope",)} if option == "judges" else {"clip": "./nope"}
    with pytest.raises(ModelNotFound, match=r"^--(judge|clip) \./nope: model folder './nope' does not exist") as told:
        run_evaluation(EvaluationRequest(run, **named), print)
    assert exit_code(told.value) == 2 and not (run / "internal" / "evaluation").exists()
    assert not list(tmp_path.glob("ledger/*"))

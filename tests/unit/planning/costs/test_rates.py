"""Rates: whose, of what, and what is assumed where the engine is configured otherwise than it was measured."""

import json
from pathlib import Path

import pytest

from spti_ray.config import EngineConfig
from spti_ray.config.loading import ConfigError
from spti_ray.planning.costs.measured import load_rates
from spti_ray.planning.costs.rates import EngineRate, Rates, RatesFile, published

THROUGHPUT = Path(__file__).parents[4] / "jobs" / "results" / "throughput.json"


def rate(**changes):
    said = {"hardware": "H100", "measured": "m", "source": "s"}
    return EngineRate(**{"role": "renderer", "models": ("m",), "gpus": 1, "per_s": 2.0, **said, **changes})


def engine(gpus=1, model="m", **options):
    wished = options.pop("accelerators", ())
    return EngineConfig(kind="diffusers", model=model, num_gpus=gpus, accelerators=wished, options=options)


def test_a_rate_is_of_its_model_and_role_and_of_a_gpu_or_none():
    known = Rates(RatesFile(), RatesFile(rates=(rate(),)))
    assert known.of("renderer", engine()) is not None
    assert known.of("renderer", engine(gpus=0)) is None
    assert known.of("renderer", engine(model="n")) is None
    assert known.of("image_embedder", engine()) is None
    assert Rates(RatesFile(), RatesFile(rates=(rate(kind="other"),))).of("renderer", engine()) is None


def test_a_given_rate_comes_before_published_ones_and_among_these_the_wished_gpu():
    h100, l4 = rate(), rate(hardware="L4", per_s=0.2)
    known = Rates(RatesFile(), RatesFile(rates=(h100, l4)))
    assert known.of("renderer", engine()) == h100
    assert known.of("renderer", engine(accelerators=("L4", "H100"))) == l4
    mine = rate(hardware="mine")
    assert Rates(RatesFile(rates=(mine,)), known.published).of("renderer", engine(accelerators=("L4",))) == mine


def test_steps_and_pixels_that_differ_from_the_measurement_are_reckoned_and_told():
    measured = rate(per_s=None, fixed_s=1.0, step_s=0.5, steps=2, pixels=100)
    assert measured.seconds(engine(steps=2, height=100, width=100)) == (2.0, ())
    seconds, assumed = measured.seconds(engine(steps=4, height=200, width=100))
    assert seconds == (1 + 4 * 0.5) * 2 and len(assumed) == 2
    seconds, assumed = measured.seconds(engine())
    assert seconds == 2.0 and "not set" in assumed[0] and "not set" in assumed[1]
    whole = rate(steps=10, pixels=100)
    assert whole.seconds(engine(steps=20, height=100, width=100))[0] == 1.0


def test_a_rate_that_says_nothing_or_everything_is_refused():
    for changes in ({"per_s": None}, {"step_s": 1.0}):
        with pytest.raises(ValueError, match="give per_s, or step_s"):
            rate(**changes)


def test_every_published_rate_names_its_source_and_when_it_was_read_or_what_repeats_it():
    file = published()
    for one in (*file.rates, *file.training, *file.recipes):
        assert "read 20" in one.source or "throughput.json" in one.source or "python -m jobs." in one.source


def test_the_published_rates_of_the_bundled_engines_are_those_of_the_repository_s_bench():
    engines = json.loads(THROUGHPUT.read_text())["engines"]
    bundled = {one.role: one.per_s for one in published().rates if one.models[0].startswith("bundled:")}
    assert bundled == {role: found["pool"] for role, found in engines.items()}


def test_what_a_bench_left_are_rates_by_its_file_and_by_its_folder():
    writer = EngineConfig(kind="vllm", model="bundled:smollm2")
    for path in (THROUGHPUT, THROUGHPUT.parent):
        found = load_rates((path,)).of("writer", writer)
        assert found is not None and found.of == "tokens" and found.gpus == 0
        assert found.source == f"spti bench: {path / 'throughput.json' if path.is_dir() else path}"


def test_a_bench_that_records_its_options_gives_a_rate_for_other_options(tmp_path):
    settings = {"batch_size": 4, "num_gpus": 1, "options": {"steps": 2, "height": 64, "width": 64}}
    part = {"engine": "diffusers m", "settings": settings, "rate_of": "items/s", "pool": 8.0, "per_gpu_second": 8.0}
    file = tmp_path / "throughput.json"
    file.write_text(json.dumps({"engines": {"renderer": part}, "machine": {"cpus": 2, "cpu": "X"}}))
    found = load_rates((file,)).of("renderer", engine(steps=4, height=64, width=64))
    assert found is not None and found.seconds(engine(steps=4, height=64, width=64))[0] == 2 / 8
    assert "cores of X" in found.hardware


@pytest.mark.parametrize("text", ["rates: [{role: writer}]", "nothing: of the kind", "[]", "{"])
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path, text):
    file = tmp_path / "rates.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_rates((file,))
    assert "\n" not in str(caught.value)


def test_a_folder_without_rates_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--rates .*neither a finished run"):
        load_rates((tmp_path,))
    with pytest.raises(ConfigError, match=r"--rates .*can't be read \(FileNotFoundError\)"):
        load_rates((tmp_path / "none.yaml",))


def test_a_file_of_one_s_own_in_the_published_form_is_taken(tmp_path):
    file = tmp_path / "rates.yaml"
    file.write_text(
        "rates: [{role: renderer, models: [m], per_s: 3, gpus: 1, hardware: H100, measured: by us, source: here}]\n"
    )
    found = load_rates((file,)).of("renderer", engine())
    assert found is not None and found.per_s == 3

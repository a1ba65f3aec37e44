import copy
import json
import math
import re
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import Config, EvolutionConfig
from spti_ray.config.identity import BEFORE, changed_keys, config_sha256, flatten, pinned, resolved
from spti_ray.config.loading import ConfigError, load_config, parse_config
from spti_ray.config.method_traits import (
    has_shards,
    is_charged,
    stays_inside,
    uses_private_data,
    why_not_certified,
    why_not_private,
)
from spti_ray.dp.history import UNCERTIFIED
from spti_ray.models.factory import engines_config
from tests.unit.conftest import config_with

# A study (jobs/curve.py) names the settings of its runs under `config:`, and is none itself.
JOBS = [
    path
    for path in sorted((Path(__file__).parents[3] / "jobs").glob("*.yaml"))
    if not re.search(r"^config:", path.read_text(encoding="utf-8"), re.MULTILINE)
]
MINIMAL = {
    "data": {"path": "images"},
    "dataset": {"id": "toys"},
    "privacy": {"epsilon": 1.0, "delta": 1e-5},
    "evolution": {"generations": 2, "candidates": 10},
    "prompts": {"domain": "toys"},
    "release": {"images": 4},
}


def changed(path: str, value: object) -> dict:
    """MINIMAL with one setting replaced; `...` removes it."""
    raw = copy.deepcopy(MINIMAL)
    *parents, leaf = path.split(".")
    node = raw
    for parent in parents:
        node = node.setdefault(parent, {})
    if value is ...:
        del node[leaf]
    else:
        node[leaf] = value
    return raw


def refusal(raw: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    assert "pydantic" not in message and "Value error" not in message
    return message


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL), encoding="utf-8")
    return path


def set_refusal(file: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_there_are_shipped_jobs():
    assert JOBS


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_every_shipped_job_parses_and_its_engines_are_known(path):
    engines_config(load_config(path).runtime.engines)


def test_a_configuration_of_the_package_is_read_by_its_name_and_another_name_lists_them():
    config = load_config(Path("bundled:stickers"), ["privacy.epsilon=1"])
    assert config.title == "Stickers" and config.privacy.epsilon == 1.0
    message = set_refusal(Path("bundled:sticker"))
    assert message.startswith("bundled:sticker: no such bundled configuration; there are: stickers, ")


def test_a_file_that_is_called_like_one_of_the_package_comes_first(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file.rename(tmp_path / "bundled:stickers")
    assert load_config(Path("bundled:stickers")).prompts.domain == "toys"


def test_the_smallest_configuration_is_enough():
    config = parse_config(MINIMAL)
    assert config.evolution.label_names == ("all",)
    assert config.evolution.quota(10) == {"all": 10}


def test_a_configuration_can_not_be_changed_after_it_was_read():
    with pytest.raises(ValueError, match="frozen"):
        parse_config(MINIMAL).privacy.epsilon = 100.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("privcy", "privacy"),
        ("privacy.epsilonn", "epsilon"),
        ("evolution.generation", "generations"),
        ("evolution.variation.temprature", "temperature"),
        ("runtime.shars", "shards"),
        ("prompts.atributes", "attributes"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(path, nearest):
    message = refusal(changed(path, {"a": 1}))
    assert message == f"{path}: unknown key; did you mean '{nearest}'?"


def test_an_unknown_key_in_a_list_is_refused_with_the_nearest_known_one():
    message = refusal(changed("evolution.labels", [{"name": "a"}, {"name": "b", "shar": 2}]))
    assert message == "evolution.labels.1.shar: unknown key; did you mean 'share'?"
    message = refusal(changed("prompts.fill_examples", [{"blank": "a _", "filled": "a cat"}]))
    assert message == "prompts.fill_examples.0.blank: unknown key; did you mean 'blanks'?"


def test_a_misspelt_required_key_is_reported_as_misspelt_and_not_as_missing():
    raw = changed("privacy", {"epsilom": 1.0, "delta": 1e-5})
    assert refusal(raw) == "privacy.epsilom: unknown key; did you mean 'epsilon'?"


def test_an_unknown_key_like_no_other_lists_the_known_ones():
    message = refusal(changed("privacy.zzzzzz", 1))
    assert message.startswith("privacy.zzzzzz: unknown key; known: epsilon, delta, votes_per_record")


@pytest.mark.parametrize("path", ["privacy", "data.path", "dataset.id", "privacy.epsilon", "privacy.delta"])
@pytest.mark.parametrize("section", ["release.images", "evolution.candidates", "prompts.domain"])
def test_a_missing_setting_is_named(path, section):
    assert refusal(changed(path, ...)) == f"{path}: required, but missing"
    assert refusal(changed(section, ...)) == f"{section}: required, but missing"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("privacy.epsilon", 0),
        ("privacy.epsilon", -1),
        ("privacy.epsilon", 101),
        ("privacy.epsilon", float("nan")),
        ("privacy.epsilon", float("inf")),
        ("privacy.epsilon", "much"),
        ("privacy.delta", 0),
        ("privacy.delta", 0.5),
        ("privacy.delta", -1e-5),
        ("privacy.delta", float("nan")),
        ("privacy.votes_per_record", 0),
        ("privacy.votes_per_record", 1.5),
        ("privacy.spare_slots", -1),
        ("dataset.lifetime_epsilon", 0),
        ("dataset.lifetime_epsilon", float("nan")),
        ("dataset.id", "../elsewhere"),
        ("dataset.id", ""),
        ("evolution.generations", 0),
        ("evolution.candidates", 0),
        ("evolution.candidates", 2.5),
        ("evolution.lookahead", -1),
        ("evolution.survivors", 0),
        ("evolution.survivors", 1.01),
        ("evolution.joint_image_weight", -0.1),
        ("evolution.voting", "both"),
        ("evolution.variation.top_p", 0),
        ("evolution.variation.contrast", -1),
        ("evolution.shrinkage", "most"),
        ("release.texts", "all"),
        ("evolution.image_variation.first_strength", 0),
        ("evolution.image_variation.last_strength", 1.1),
        ("method", "pe"),
        ("release.images", 0),
        ("release.images_per_text", 0),
        ("runtime.shards", 0),
        ("runtime.seed", -1),
        ("runtime.placement_timeout_s", 0),
        ("data.max_pixels", 0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(path, value):
    assert refusal(changed(path, value)).startswith(f"{path}: ")


def test_the_strength_of_image_variations_falls_in_equal_steps_and_stays_for_the_release():
    def strengths(generations: int, last: int) -> list[float]:
        degrees = {"first_strength": 0.8, "last_strength": 0.4}
        evolution = EvolutionConfig(generations=generations, candidates=4, image_variation=degrees)
        return [round(evolution.image_strength(generation), 6) for generation in range(1, last + 1)]

    assert strengths(6, 7) == [0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.4]
    assert strengths(2, 3) == [0.8, 0.4, 0.4]
    assert strengths(1, 2) == [0.4, 0.4]
    message = refusal(changed("evolution.image_variation.last_strength", 0.95))
    assert message.startswith("evolution.image_variation: ") and "first_strength 0.9" in message


def test_images_that_evolve_are_voted_on_as_images():
    message = refusal(changed("evolution.voting", "caption") | {"method": "pe-image"})
    assert "evolution.voting: image" in message and "pe-image" in message


def test_labels_must_differ():
    assert "label names must differ" in refusal(changed("evolution.labels", [{"name": "a"}, {"name": "a"}]))


def test_more_votes_than_candidates_are_refused():
    message = refusal(changed("privacy.votes_per_record", 11))
    assert message == "privacy.votes_per_record is 11, but evolution.candidates gives 10 candidates"
    assert parse_config(changed("privacy.votes_per_record", 10))


def test_more_votes_than_the_candidates_of_one_label_are_refused_and_the_label_is_named():
    raw = changed("evolution.labels", [{"name": "cats", "share": 4}, {"name": "dogs", "share": 1}])
    raw["privacy"]["votes_per_record"] = 2
    assert parse_config(raw).evolution.quota(10) == {"cats": 8, "dogs": 2}
    raw["privacy"]["votes_per_record"] = 3
    assert refusal(raw).endswith("gives 2 candidates of label 'dogs'")


def test_a_label_without_any_candidate_is_refused():
    raw = changed("evolution.labels", [{"name": "cats", "share": 100}, {"name": "dogs", "share": 1}])
    assert "0 candidates of label 'dogs'" in refusal(raw)


def test_groups_need_a_group_column():
    raw = changed("privacy.unit", "group")
    assert refusal(raw) == "privacy.unit is group, but data.group_column is not set"
    raw["data"]["group_column"] = "patient"
    assert parse_config(raw)


def test_prompts_that_contradict_themselves_are_refused():
    assert "min_words 9 is larger than max_words 3" in refusal(
        changed("prompts", {"domain": "x", "min_words": 9, "max_words": 3})
    )
    assert "one entry per example" in refusal(
        changed("prompts", {"domain": "x", "examples": ["a", "b"], "example_attributes": [{"k": "v"}]})
    )
    assert "an attribute list is empty" in refusal(changed("prompts.attributes", {"color": []}))


def test_the_engines_are_embedded_fake_or_settings_per_role():
    assert parse_config(changed("runtime.engines", "fake")).runtime.engines == "fake"
    assert parse_config(changed("runtime.engines", {"writer": {"replicas": 2}})).runtime.engines == {
        "writer": {"replicas": 2}
    }
    assert refusal(changed("runtime.engines", "fast")).startswith("runtime.engines: should be embedded, fake, or ")
    message = refusal(changed("runtime.engines", {"rendrer": {"num_gpus": 1}}))
    assert message.startswith("runtime.engines.rendrer: ") and "'renderer'" in message
    assert refusal(changed("runtime.engines", {"renderer": 5})).startswith("runtime.engines.renderer: ")


def test_voting_spaces_and_weights_follow_the_voting():
    def spaces(**settings):
        return EvolutionConfig(generations=1, candidates=1, **settings).spaces

    assert spaces() == {"image": 1.0}
    assert spaces(voting="caption") == {"text": 1.0}
    assert spaces(voting="joint", joint_image_weight=0.75) == {"image": 0.75, "text": 0.25}


def test_overrides_replace_settings_and_are_read_as_yaml(file):
    overrides = [
        "privacy.delta=1e-6",
        "privacy.epsilon=3",
        "evolution.keep_survivors=false",
        "evolution.variation.temperature=0.5",
        "prompts.examples=[a red cat, a blue dog]",
        "data.label_column=null",
        "dataset.id=1e5x",
    ]
    config = load_config(file, overrides)
    assert config.privacy.delta == 1e-6 and config.privacy.epsilon == 3.0
    assert config.evolution.keep_survivors is False
    assert config.evolution.variation.temperature == 0.5 and config.evolution.variation.top_p == 0.95
    assert config.prompts.examples == ("a red cat", "a blue dog")
    assert config.data.label_column is None and config.dataset.id == "1e5x"


@pytest.mark.parametrize("text", ["1e-5", "1.0e-5", "0.00001", "1E-5", " 1e-5"])
def test_a_small_number_is_read_however_it_is_written(file, text):
    assert load_config(file, [f"privacy.delta={text}"]).privacy.delta == 1e-5


def test_a_small_number_among_an_engines_options_is_a_number_too(file):
    config = load_config(file, ["runtime.engines.renderer.options.guidance_scale=1e-1"])
    assert config.runtime.engines == {"renderer": {"options": {"guidance_scale": 0.1}}}


def test_delta_may_be_written_without_a_point_in_the_file(file):
    file.write_text(file.read_text().replace("delta: 1.0e-05", "delta: 1e-6"), encoding="utf-8")
    assert load_config(file).privacy.delta == 1e-6


def test_the_last_of_two_overrides_of_one_setting_wins(file):
    assert load_config(file, ["privacy.epsilon=2", "privacy.epsilon=3"]).privacy.epsilon == 3.0


@pytest.mark.parametrize("engines", [None, "embedded"])
def test_one_setting_of_one_engine_can_be_overridden(file, engines):
    overrides = [f"runtime.engines={engines}"] if engines else []
    config = load_config(file, [*overrides, "runtime.engines.renderer.num_gpus=1"])
    engines_before, engines_after = engines_config("embedded"), engines_config(config.runtime.engines)
    assert engines_after.renderer.num_gpus == 1
    assert engines_after.renderer.model == engines_before.renderer.model
    assert engines_after.writer == engines_before.writer


def test_overriding_one_of_the_fake_engines_does_not_bring_back_the_real_ones(file):
    message = set_refusal(file, "runtime.engines=fake", "runtime.engines.renderer.num_gpus=1")
    assert message.startswith("--set runtime.engines.renderer.num_gpus: ") and "fake" in message


@pytest.mark.parametrize("override", ["privacy.epsilon", "=3", " =3", ""])
def test_an_override_without_a_key_or_a_value_is_refused(file, override):
    assert set_refusal(file, override) == f"--set {override.strip()}: write it as section.key=value"


def test_an_override_that_is_not_yaml_is_refused(file):
    assert set_refusal(file, "prompts.examples=[a, b").startswith("--set prompts.examples: not valid YAML at line 1: ")


def test_an_override_inside_a_value_is_refused(file):
    assert set_refusal(file, "privacy.epsilon.high=3") == "--set privacy.epsilon.high: epsilon is not a section"


def test_an_override_of_an_unknown_key_is_refused_with_the_nearest_one(file):
    assert set_refusal(file, "privacy.epsilom=3") == "privacy.epsilom: unknown key; did you mean 'epsilon'?"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("privacy: [1", "not valid YAML at line"),
        ("- a\n- b\n", "expected a mapping"),
        ("", "expected a mapping"),
        ("a: b: c", "not valid YAML"),
        ("a: \t- x\n\tb", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line_that_names_it(file, content, expected):
    file.write_text(content, encoding="utf-8")
    message = set_refusal(file)
    assert message.startswith(str(file)) and expected in message


def test_a_file_that_can_not_be_read_is_refused_in_one_line(tmp_path):
    assert set_refusal(tmp_path / "none.yaml").endswith("no such configuration file")
    assert set_refusal(tmp_path) == f"{tmp_path}: is a folder; give the file in it"
    (tmp_path / "latin.yaml").write_bytes(b"title: \xff\xfe")
    assert set_refusal(tmp_path / "latin.yaml").endswith("latin.yaml: is no text in UTF-8; write it as such")


PLACEMENT = {
    "runtime.executor": "local",
    "dataset.registration": "required",
    "release.card.license": "CC-BY-4.0",
    "release.card.creator": "A hospital",
    "release.card.creator_type": "Person",
    "release.card.url": "https://example.org/set",
    "release.card.version": "1.2.0",
    "release.card.published": "2027-01-31",
    "ledger.relative_to": "/elsewhere",
    "runtime.shard.num_cpus": 4.0,
    "runtime.shard.num_gpus": 0.25,
    "runtime.shards": 5,
    "runtime.address": "ray://head:10001",
    "runtime.driver.num_cpus": 1.0,
    "runtime.driver.resources": {"head": 1.0},
    "runtime.driver.labels": {"pool": "cpu"},
    "runtime.ray_start_timeout_s": 77.0,
    "runtime.node_labels": {"writer": {"zone": "a"}},
    "runtime.placement_timeout_s": 5.0,
    "runtime.node_start_s": 20.0,
    "runtime.autoscaling": False,
    "runtime.take_turns": ["writer", "renderer"],
    "runtime.engine_metrics": False,
    "runtime.unit_attempts": 7,
    "runtime.unit_crashes": 5,
    "runtime.unit_timeout_s": 60.0,
    "runtime.in_flight_per_actor": 9,
    "finetune.records_at_once": 2,
    "finetune.save_every_s": 1.0,
}
RELEVANT = {
    "privacy.epsilon": 1.5,
    "privacy.allow_not_private": True,
    "privacy.delta": 1e-6,
    "privacy.votes_per_record": 2,
    "privacy.unit": "group",
    "privacy.spare_slots": 1,
    "dataset.id": "other",
    "dataset.lifetime_epsilon": 4.0,
    "evolution.generations": 3,
    "evolution.candidates": 11,
    "evolution.voting": "joint",
    "evolution.lookahead": 1,
    "evolution.selection": "sample",
    "evolution.labels": [{"name": "a"}],
    "evolution.variation.temperature": 0.5,
    "evolution.image_variation.last_strength": 0.25,
    "evolution.variation.contrast": 3,
    "evolution.shrinkage": "family",
    "release.texts": "varied",
    "method": "pe-image",
    "data.path": "elsewhere",
    "prompts.domain": "games",
    "runtime.seed": 1,
    "runtime.engines": "fake",
    "ledger.path": "elsewhere",
    "finetune.steps": 7,
}


def with_group_column(raw: dict) -> Config:
    """Both sides have one, so that `privacy.unit: group` can be compared."""
    return parse_config(raw | {"data": {"group_column": "patient"} | raw["data"]})


@pytest.mark.parametrize("path", PLACEMENT)
def test_where_a_run_is_placed_changes_neither_its_hash_nor_its_pinned_settings(path):
    before, after = parse_config(MINIMAL), parse_config(changed(path, PLACEMENT[path]))
    assert reduce(getitem, path.split("."), resolved(after)) == PLACEMENT[path]
    assert config_sha256(before) == config_sha256(after)
    assert changed_keys(resolved(before), resolved(after)) == []


@pytest.mark.parametrize("path", RELEVANT)
def test_what_a_run_computes_or_costs_changes_its_hash_and_is_named(path):
    before, after = with_group_column(MINIMAL), with_group_column(changed(path, RELEVANT[path]))
    assert config_sha256(before) != config_sha256(after)
    assert changed_keys(resolved(before), resolved(after)) == [path]
    assert changed_keys(resolved(after), resolved(before)) == [path]


def test_every_setting_is_either_pinned_or_one_of_the_placement_settings():
    flat = flatten(resolved(parse_config(MINIMAL)))
    free = {"release.provenance.key_file", "release.provenance.key_env"}
    free |= {name for name in flat if name.startswith("release.card.")}
    assert set(flat) - set(pinned(resolved(parse_config(MINIMAL)))) - set(BEFORE) == set(PLACEMENT) | free


def test_where_the_key_is_does_not_change_a_run_and_the_certificates_place_does():
    """None of them is allowed by itself."""
    signed = [
        parse_config(changed("release.provenance", {"certificate": certificate, **key}))
        for certificate, key in (
            ("a.pem", {"key_file": "a.key"}),
            ("a.pem", {"key_env": "KEY"}),
            ("b.pem", {"key_env": "KEY"}),
        )
    ]
    hashes = [config_sha256(config) for config in signed]
    assert hashes[0] == hashes[1] != hashes[2] and config_sha256(parse_config(MINIMAL)) not in hashes


def test_a_default_and_the_same_value_written_out_have_one_hash():
    assert config_sha256(parse_config(MINIMAL)) == config_sha256(parse_config(changed("privacy.unit", "record")))
    assert config_sha256(parse_config(changed("privacy.epsilon", 1))) == config_sha256(parse_config(MINIMAL))


def test_a_resolved_configuration_survives_yaml_and_reads_back_as_itself():
    config = load_config(JOBS[0])
    again = parse_config(yaml.safe_load(yaml.safe_dump(resolved(config), allow_unicode=True)))
    assert again == config and config_sha256(again) == config_sha256(config)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = st.sampled_from([*PLACEMENT, *RELEVANT, "prompts.attributes", "prompts.examples", "runtime", "privacy", "data"])


@given(PATHS, junk)
def test_whatever_a_setting_holds_the_answer_is_a_configuration_or_one_line(path, value):
    try:
        parse_config(changed(path, value))
    except ConfigError as error:
        assert str(error) and "\n" not in str(error)


@pytest.mark.parametrize("key", ["replicas", "max_replicas", "num_cpus", "num_gpus", "threads"])
def test_a_run_may_go_on_with_another_number_of_workers_but_not_with_another_model(key):
    sized = load_config(JOBS[-1], [f"runtime.engines.renderer.{key}=2"])
    plain = load_config(JOBS[-1])
    assert changed_keys(resolved(plain), resolved(sized)) == []
    other = load_config(JOBS[-1], [f"runtime.engines.renderer.{key}=2", "runtime.engines.renderer.model=other"])
    assert "runtime.engines.renderer.model" in changed_keys(resolved(plain), resolved(other))


@pytest.mark.parametrize("setting", ["dataset.lifetime_epsilon=.inf", "privacy.delta=.nan"])
def test_infinite_and_undefined_numbers_are_refused(setting):
    with pytest.raises(ConfigError, match="finite number"):
        load_config(JOBS[-1], [setting])


@pytest.mark.parametrize("value", ["inf", ".inf", "Infinity"])
def test_no_noise_has_to_be_allowed_and_reads_back_as_itself(value):
    with pytest.raises(ConfigError, match=r"NOT private; set privacy\.allow_not_private: true"):
        load_config(JOBS[-1], [f"privacy.epsilon={value}"])
    config = load_config(JOBS[-1], [f"privacy.epsilon={value}", "privacy.allow_not_private=true"])
    assert config.privacy.epsilon == float("inf") and why_not_private(config) and not is_charged(config)
    again = parse_config(json.loads(json.dumps(resolved(config), allow_nan=False)))
    assert again == config and config_sha256(again) == config_sha256(config)


def test_what_is_not_private_says_why_and_the_rest_is_charged_or_uses_no_private_data():
    allowed = {"privacy": {"epsilon": 1.0, "delta": 1e-5, "allow_not_private": True}}
    captions = parse_config(MINIMAL | allowed | {"method": "captions"})
    assert "captions" in why_not_private(captions) and not is_charged(captions)
    assert "method: captions makes renders of captions" in refusal(MINIMAL | {"method": "captions"})
    trained = parse_config(MINIMAL | {"method": "dp-finetune"})
    assert why_not_certified(trained).endswith(UNCERTIFIED) and stays_inside(trained)
    assert not why_not_private(trained) and not is_charged(trained)
    assert uses_private_data(trained) and not has_shards(trained)
    assert "epsilon inf" in refusal(
        MINIMAL | {"method": "dp-finetune", "privacy": {"epsilon": math.inf, "delta": 1e-5}}
    )
    random = parse_config(MINIMAL | {"method": "random"})
    assert not why_not_private(random) and not is_charged(random) and not uses_private_data(random)
    assert is_charged(parse_config(MINIMAL)) and is_charged(parse_config(MINIMAL | allowed))


@pytest.mark.parametrize("setting", ["privacy.epsilon=.nan", "privacy.epsilon=-.inf"])
def test_an_epsilon_that_is_no_number_is_refused(setting):
    with pytest.raises(ConfigError, match=r"^privacy\.epsilon: "):
        load_config(JOBS[-1], [setting])


def test_an_origin_has_a_release_and_a_rerendering_rests_on_its_votes():
    origin = {"run": "r", "path": "runs/r"}
    assert config_with(origin=origin).certified_run("mine") == "mine"
    assert config_with(origin=origin | {"rerender": True}).certified_run("mine") == "r"
    assert config_with(origin=origin | {"generation": 4}).generation_numbers == range(4, 6)
    privacy = {"epsilon": math.inf, "delta": 1e-5, "allow_not_private": True}
    for changes in ({"privacy": privacy}, {"method": "captions", "privacy": privacy}, {"method": "dp-finetune"}):
        with pytest.raises(ValueError, match="what has no certificate starts from no release"):
            Config.model_validate(MINIMAL | {"origin": origin} | changes)


def test_where_an_origin_lies_may_change_but_not_which_it_is():
    before = config_with(origin={"run": "r", "path": "runs/r"})
    assert config_sha256(before) == config_sha256(config_with(origin={"run": "r", "path": "/elsewhere/r"}))
    assert config_sha256(before) != config_sha256(config_with(origin={"run": "s", "path": "runs/r"}))


@pytest.mark.parametrize(
    ("themes", "why"),
    [
        ([1], "evolution.themes.0: should be at least 2 (got 1)"),
        ([10], "evolution.themes: 10 gives 10 themes, which must be at least privacy.votes_per_record (1) and fewer"),
        ([4, 4, 4], "evolution.themes has 3 levels, more than the run's"),
    ],
)
def test_themes_that_can_not_be_asked_about_are_refused(themes, why):
    assert refusal(changed("evolution.themes", themes)).startswith(why)
    assert parse_config(changed("evolution.themes", [9])).evolution.themes == (9,)


def test_a_record_has_no_more_votes_than_there_are_themes_of_its_label():
    raw = changed("evolution.themes", [4])
    raw["evolution"]["labels"] = ["cat", "dog"]
    raw["privacy"]["votes_per_record"] = 3
    assert refusal(raw).startswith("evolution.themes: 4 gives 2 themes of label 'cat', which must be at least")


LISTS = {"subject": ["cat", "dog", "car"], "color": ["red", "Red ", "blue"], "size": ["small", "big"]}


def with_vocabulary(name, themes, **evolution):
    raw = changed("evolution.vocabulary", name)
    raw["prompts"]["attributes"] = LISTS
    raw["evolution"] |= {"candidates": 30, "themes": themes, **evolution}
    return raw


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (with_vocabulary("shape", [3]), "prompts.attributes has no list 'shape'; there are: subj"),
        (with_vocabulary("color", [3]), "'color' has 'red' twice; each theme is asked about once"),
        (with_vocabulary("subject", [4]), "'subject' has 3 values, so evolution.themes must begin"),
        (with_vocabulary("subject", []), "'subject' has 3 values, so evolution.themes must begin"),
        (with_vocabulary("size", [2], labels=["a", "b"]), "'size' has 2 values for each of 2 label"),
        (with_vocabulary("subject", [6], labels=["a", "b"]), "labels take the place of the list"),
        (with_vocabulary("subject", [3], candidates=3), "3 gives 3 themes, which must be at least"),
        (with_vocabulary("subject", [3]) | {"method": "pe-image"}, "is for votes on texts, of which method pe"),
    ],
)  # fmt: skip
def test_a_vocabulary_that_can_not_be_asked_about_is_refused(raw, why):
    line = refusal(raw)
    assert line.startswith("evolution.") and why in line and "\n" not in line


def test_a_vocabulary_and_finer_themes_after_it_is_taken():
    config = parse_config(with_vocabulary("subject", [3, 8]))
    assert config.evolution.vocabulary == "subject" and config.evolution.asked(0) == 3
    assert parse_config(with_vocabulary("size", [4], labels=["a", "b"])).evolution.themes_per_label(0) == {
        "a": 2,
        "b": 2,
    }


def test_the_last_level_of_themes_is_checked_where_label_shares_come_first():
    raw = changed("evolution.label_shares", "voted")
    raw["evolution"] |= VOTED | {"generations": 3, "candidates": 30, "themes": [9, 30]}
    assert refusal(raw).startswith("evolution.themes: 30 gives 10 themes of label 'cat'")


VOTED = {"labels": ["cat", "dog", "car"], "label_shares": "voted"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"evolution.labels": []},
            "evolution.label_shares is voted, but evolution.labels names no labels; name at least",
        ),
        ({"evolution.labels": ["cat"]}, "evolution.label_shares is voted, but evolution.labels names 1 label; name at"),
        (
            {"evolution.generations": 1},
            "evolution.label_shares is voted, but evolution.generations is 1, and the first",
        ),
        ({"method": "random"}, "evolution.label_shares is voted, but with method: random nobody votes"),
        ({"method": "captions"}, "evolution.label_shares is voted, but with method: captions nobody votes"),
        ({"method": "dp-finetune"}, "evolution.label_shares is voted, but with method: dp-finetune nobody votes"),
        (
            {"privacy.votes_per_record": 4},
            "evolution.label_shares is voted, but privacy.votes_per_record (4) is larger",
        ),
        ({"evolution.themes": [5, 5]}, "evolution.themes has 2 levels, more than the run's 1 generations that have"),
        ({"evolution.label_shares": "counted"}, "evolution.label_shares: should be 'public' or 'voted'"),
    ],
)
def test_shares_of_labels_that_can_not_be_voted_for_are_refused(changes, why):
    raw = changed("evolution.label_shares", "voted")
    raw["evolution"] |= VOTED | {"generations": 2, "candidates": 30}
    assert parse_config(raw).asks_label_shares
    for path, value in changes.items():
        section, _, key = path.rpartition(".")
        (raw.setdefault(section, {}) if section else raw)[key] = value
    assert refusal(raw).startswith(why)


def test_a_run_that_goes_on_asks_nothing_of_labels_and_may_have_one_generation():
    raw = changed("evolution.label_shares", "voted")
    raw["evolution"] |= VOTED | {"generations": 1, "candidates": 30}
    raw["origin"] = {"run": "r", "path": "x", "generation": 4}
    config = parse_config(raw)
    assert not config.asks_label_shares and list(config.candidate_generations) == [4]


def test_themes_begin_with_the_first_generation_that_has_candidates():
    raw = changed("evolution.label_shares", "voted")
    raw["evolution"] |= VOTED | {"generations": 3, "candidates": 30, "themes": [9]}
    config = parse_config(raw)
    assert list(config.generation_numbers) == [0, 1, 2] and list(config.candidate_generations) == [1, 2]
    assert [config.evolution.asked(number) for number in (0, 1, 2)] == [3, 9, 30]
    assert [bool(config.evolution.themes_per_label(number)) for number in (0, 1, 2)] == [False, True, False]


def test_a_label_with_a_small_share_has_a_candidate_and_a_theme_and_no_more_images_than_its_share():
    raw = changed("evolution.label_shares", "voted")
    raw["evolution"] |= VOTED | {"generations": 2, "candidates": 30, "themes": [9]}
    evolution = parse_config(raw).evolution
    shares = zip(evolution.labels, (0.009, 0.011, 0.98), strict=True)
    uneven = evolution.model_copy(
        update={"labels": tuple(label.model_copy(update={"share": share}) for label, share in shares)}
    )
    assert uneven.candidates_per_label() == {"cat": 1, "dog": 1, "car": 28}
    assert uneven.survivors_per_label()["cat"] == 1 and uneven.themes_per_label(1)["cat"] == 1
    assert uneven.quota(20) == {"cat": 0, "dog": 0, "car": 20}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": {"domain": "x", "label_attributes": {"c": {"kind": ["d"]}}}}, "'c' is none of evolution.labels"),
        ({"prompts": {"domain": "x", "label_attributes": {"a": {"kind": []}}}}, "an attribute list is empty"),
        (
            {"prompts": {"domain": "x", "label_attributes": {"a": {"subject": ["d"]}}}},
            "the subject of a label is the label",
        ),
    ],
)
def test_lists_of_labels_must_be_of_labels_and_leave_them_their_subject(changes, message):
    labels = {"labels": [{"name": "a"}, {"name": "b"}], "generations": 2, "candidates": 12}
    with pytest.raises(ValueError, match=message):
        config_with(evolution=labels, **changes)

"""The paper presets: they parse, can be planned, have the paper's settings, and prompts that fit their own limits."""

import math
import random
from pathlib import Path

import pytest

from spti_ray.config.loading import load_config
from spti_ray.models.chat import few_shot_messages
from spti_ray.models.factory import engines_config
from spti_ray.planning.plan import plan_summary
from spti_ray.planning.plan_text import plan_lines, prompt_previews
from spti_ray.public.cleaning import clean
from spti_ray.public.prompts import draw_attributes, random_prompt

FOLDER = Path(__file__).parents[3] / "jobs" / "paper"
PRIVATE_RECORDS = {  # as published
    "lsun-bedroom": 300_000,
    "mm-celeba-hq": 30_000,
    "camelyon17": 302_436,
    "cats": 200,
    "european-art": 15_000,
}


@pytest.fixture(params=sorted(PRIVATE_RECORDS))
def preset(request):
    path = FOLDER / f"{request.param}.yaml"
    return request.param, path, load_config(path)


def test_there_is_one_preset_for_each_data_set():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(PRIVATE_RECORDS)


def test_a_preset_can_be_planned(preset):
    name, _, config = preset
    summary = plan_summary(config, PRIVATE_RECORDS[name])
    assert summary["achieved_epsilon"] <= 1.0 and summary["sigma"] > 14
    assert all("\n" not in line for line in plan_lines(summary))
    kinds = [preview.splitlines()[0].partition(",")[0].strip("- ") for preview in prompt_previews(config)]
    labels = len(config.evolution.label_names)
    assert kinds[:labels] == ["prompt: new text"] * labels
    assert set(kinds[labels:]) == {"prompt: fill in the blanks"}, "the paper's variations fill blanks alone"


def test_a_preset_has_the_papers_settings(preset):
    _, _, config = preset
    evolution, prompts = config.evolution, config.prompts
    assert config.privacy.epsilon == 1.0 and config.privacy.votes_per_record == 1
    assert evolution.generations == 10 and evolution.candidates == 14_000
    assert sum(evolution.survivors_per_label().values()) == 2_000
    assert evolution.selection == "rank" and evolution.keep_survivors
    assert evolution.lookahead == {"image": 0, "caption": 8}[evolution.voting]
    assert (evolution.variation.rephrase_share, evolution.variation.mask_share) == (0.0, 0.5)
    assert (evolution.variation.temperature, evolution.variation.top_p) == (1.0, 1.0)
    assert (prompts.min_target_words, prompts.length_deviation, prompts.max_tokens) == (25, 36, 100)


def test_a_presets_engines_are_the_papers(preset):
    _, _, config = preset
    engines = engines_config(config.runtime.engines)
    assert engines.writer.model == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert engines.writer.options["prompt_format"] == "few-shot-chat"
    if config.evolution.voting == "image":
        assert engines.renderer.model == "stabilityai/sdxl-turbo"
        assert engines.renderer.options | {"steps": 4, "guidance_scale": 0.0} == engines.renderer.options
        assert engines.image_embedder.kind == "inception" and engines.image_embedder.options == {"pixels": 256}
    else:
        assert engines.captioner.model == "Salesforce/blip-image-captioning-large"
    assert all(engines.of(role).num_gpus > 0 for role in ("writer", "renderer"))


def test_delta_is_a_policy_and_not_made_of_the_number_of_private_records(preset):
    name, _, config = preset
    records = PRIVATE_RECORDS[name]
    assert config.privacy.delta == 1e-7 < 1 / (10 * records)
    assert config.privacy.delta != pytest.approx(1 / (records * math.log(records)), rel=0.5)


def test_a_presets_head_says_where_it_is_from_what_differs_and_what_it_runs_on(preset):
    _, path, _ = preset
    head = path.read_text(encoding="utf-8").split("\ntitle:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    for words in (
        "arXiv 2506.07555",
        "What differs, and why:",
        "Hardware:",
        "Nothing in this file may come from looking",
    ):
        assert words in head


def test_a_presets_examples_are_what_its_own_limits_would_keep(preset):
    _, _, config = preset
    prompts = config.prompts
    for text in (*prompts.examples, *(example.filled for example in prompts.fill_examples)):
        assert clean(text, prompts.min_words, prompts.max_words, prompts.sentences) == text
        assert len(text.split()) >= prompts.min_target_words
    assert all("_" in example.blanks.split() for example in prompts.fill_examples)


def test_a_presets_examples_have_the_attributes_that_are_drawn_and_become_turns_of_a_chat(preset):
    _, _, config = preset
    label = config.evolution.labels[0] if config.evolution.labels else None
    values = draw_attributes(config.prompts, label, random.Random(0))
    for attributes in config.prompts.example_attributes:
        assert list(attributes) == list(values)
        for name, value in attributes.items():
            assert value in config.prompts.attributes.get(name, (value,))
    assert len(few_shot_messages(random_prompt(config.prompts, values, 30))) == 2 * len(config.prompts.examples) + 1

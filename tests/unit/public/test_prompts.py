import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config import LabelConfig, PromptsConfig
from spti_ray.public import prompts as build
from spti_ray.public.population import Population
from spti_ray.public.slots import preview
from tests.unit.conftest import config_with

PROMPTS = PromptsConfig(
    domain="simple stickers",
    attributes={"subject": ("cat", "car"), "color": ("red", "blue")},
    examples=("a brown bear face", "a red hammer"),
    example_attributes=({"subject": "bear", "color": "brown"}, {"subject": "hammer", "color": "red"}),
    rephrase_examples=({"text": "a red hammer", "new": "a blue screwdriver"},),
    fill_examples=({"blanks": "a _ bear", "filled": "a white bear"},),
    min_words=3,
    max_words=9,
)


def test_the_random_prompt_shows_the_examples_in_the_form_of_the_target():
    prompt = build.random_prompt(PROMPTS, {"subject": "cat", "color": "red"}, 5)
    assert prompt.splitlines() == [
        "Short descriptions of simple stickers.",
        "",
        "Subject: bear. Color: brown. Text (4 words): a brown bear face",
        "Subject: hammer. Color: red. Text (3 words): a red hammer",
        "Subject: cat. Color: red. Text (5 words):",
    ]


def test_the_rephrase_prompt_ends_with_the_text_and_an_open_answer():
    lines = build.rephrase_prompt(PROMPTS, "a green frog", 4).splitlines()
    assert lines[-2:] == ["Text: a green frog", "New (4 words):"]
    assert lines[2:4] == ["Text: a red hammer", "New (3 words): a blue screwdriver"]


def test_the_prompt_for_more_of_a_kind_lists_the_kind_in_any_order_with_the_text_itself_last():
    kin = ("a nurse", "a tall doctor", "a surgeon at work")
    prompts = {build.kin_prompt(PROMPTS, "a nurse", kin, 4, random.Random(seed)) for seed in range(20)}
    first, second = "Text (3 words): a tall doctor", "Text (4 words): a surgeon at work"
    head = ["Short descriptions of simple stickers, all of one kind.", ""]
    tail = ["Text (2 words): a nurse", "Text (4 words):"]
    assert {tuple(prompt.splitlines()) for prompt in prompts} == {
        (*head, first, second, *tail),
        (*head, second, first, *tail),
    }
    alone = build.kin_prompt(PROMPTS, "a nurse", ("a nurse",), 4, random.Random(0))
    assert alone.splitlines() == [*head, *tail]


def test_the_fill_prompt_ends_with_the_blanks_and_an_open_answer():
    lines = build.fill_prompt(PROMPTS, "a _ frog", 4).splitlines()
    assert lines[-2:] == ["Blanks: a _ frog", "Filled (4 words):"]
    assert lines[2:4] == ["Blanks: a _ bear", "Filled (3 words): a white bear"]


@pytest.mark.parametrize(
    "two",
    [
        [build.random_prompt(PROMPTS, {"subject": s, "color": "red"}, n) for s, n in (("cat", 3), ("dog", 7))],
        [build.rephrase_prompt(PROMPTS, text, n) for text, n in (("the sun", 3), ("one cloud", 7))],
        [build.fill_prompt(PROMPTS, text, n) for text, n in (("the _", 3), ("one _", 7))],
    ],
    ids=["random", "rephrase", "fill"],
)
def test_prompts_of_one_kind_share_all_but_the_target(two):
    """The writer's prefix cache depends on it."""
    same = (a == b for a, b in zip(*two, strict=False))
    shared = two[0][: sum(itertools.takewhile(bool, same))]
    examples_end = max(shared.rfind("hammer"), shared.rfind("screwdriver"), shared.rfind("white bear"))
    assert examples_end > 0 and len(two[0]) - len(shared) < 60


@pytest.mark.parametrize("examples", [{}, {"examples": ("a red hammer",)}])
def test_prompts_work_without_examples_and_attributes(examples):
    prompts = PromptsConfig(domain="simple stickers", **examples)
    assert build.random_prompt(prompts, {}, 5).endswith("Text (5 words):")
    shown = preview(_config(prompts))
    assert [kind for kind, _ in shown] == ["new text", "rephrase", "fill in the blanks"]
    assert all(prompt == prompt.rstrip() and "simple stickers" in prompt for _, prompt in shown)


def test_a_prompt_never_ends_in_white_space():
    """A completion model answers an open line; a trailing space is another token."""
    themed = {"themes": [4, 4], "variation": {"rephrase_share": 0.5}}
    shown = preview(_config(PROMPTS)) + preview(_config(PROMPTS, **themed))
    assert all(prompt == prompt.rstrip() for _, prompt in shown)


def _config(prompts, **evolution):
    return config_with(prompts=prompts.model_dump(), evolution={"generations": 2, "candidates": 12, **evolution})


def test_the_prompts_that_are_shown_are_those_that_the_run_has():
    labels = [{"name": "tools", "hint": "hammer"}, {"name": "rest"}]
    held = PROMPTS.model_copy(update={"hold_subject": True})
    themed = {"themes": [4, 4], "labels": labels, "variation": {"rephrase_share": 1}}
    shown = dict(preview(_config(held, **themed)))
    assert list(shown) == [
        "new text, label tools",
        "new text, label rest",
        "one more of a kind, label tools",
        "one more of a kind, label rest",
    ]
    assert "Subject: hammer." in shown["new text, label tools"]
    assert "all of one kind: hammer." in shown["one more of a kind, label tools"]
    kinds = [kind for kind, _ in preview(_config(PROMPTS, themes=[4]))]
    assert kinds == ["new text", "one more of a kind", "fill in the blanks"]


def test_those_for_new_texts_are_the_runs_first_word_for_word(local_engines):
    lists = {"tools": {"kind": ("saw", "drill")}, "rest": {"color": ("grey",)}}
    prompts = PROMPTS.model_copy(update={"label_attributes": lists})
    config = _config(prompts, labels=[{"name": "tools"}, {"name": "rest"}])
    engines = local_engines()
    list(Population(config, engines).random_api())
    asked = [request.prompt for request in engines.requests]
    shown = [prompt for kind, prompt in preview(config) if kind.startswith("new text")]
    assert shown[0] == asked[0] and shown[1] in asked and len(shown) == 2
    assert "Subject: tools. Kind: " in shown[0] and "Kind" not in shown[1] and "Color: grey." in shown[1]


def test_attributes_are_drawn_from_the_public_lists_and_every_value_comes_up():
    draws = [build.draw_attributes(PROMPTS, None, random.Random(seed)) for seed in range(60)]
    assert {draw["subject"] for draw in draws} == {"cat", "car"}
    assert {draw["color"] for draw in draws} == {"red", "blue"}
    assert draws[0] == build.draw_attributes(PROMPTS, None, random.Random(0))


def test_a_label_is_shown_by_its_hint_or_else_its_name():
    prompts = PromptsConfig(domain="x", attributes={"color": ("red",)})
    assert build.draw_attributes(prompts, LabelConfig(name="c1", hint="a cat"), random.Random(0)) == {
        "subject": "a cat",
        "color": "red",
    }
    assert build.draw_attributes(prompts, LabelConfig(name="dog"), random.Random(0))["subject"] == "dog"


def test_a_label_wins_over_an_attribute_list_of_the_same_name():
    values = build.draw_attributes(PROMPTS, LabelConfig(name="dog"), random.Random(0))
    assert next(iter(values.items())) == ("subject", "dog") and set(values) == {"subject", "color"}


words = st.lists(st.sampled_from("a the an red dog with big hat on snow".split()), min_size=1, max_size=16)


@given(words, st.floats(0.01, 0.99), st.integers(0, 99))
def test_masking_keeps_the_other_words_in_order_and_masks_the_wanted_share(words, share, seed):
    masked = build.mask(" ".join(words), share, random.Random(seed)).split()
    kept = [word for word in masked if word != build.BLANK]
    position = 0
    for word in kept:
        position = words.index(word, position) + 1
    open_words = sum(word not in {"a", "an", "the"} for word in words)
    assert len(words) - len(kept) == min(open_words, max(1, round(share * len(words))))
    assert (build.BLANK in masked) == (open_words > 0)
    assert all(pair != (build.BLANK, build.BLANK) for pair in zip(masked, masked[1:], strict=False))
    assert [word for word in kept if word in {"a", "an", "the"}] == [w for w in words if w in {"a", "an", "the"}]


@given(st.none() | st.integers(1, 40), st.integers(0, 999), st.integers(1, 12), st.integers(0, 12))
def test_a_target_length_is_within_the_limits(parent_words, seed, min_words, more):
    prompts = PromptsConfig(domain="x", min_words=min_words, max_words=min_words + more)
    length = build.target_length(prompts, parent_words, random.Random(seed))
    assert min_words <= length <= min_words + more


def test_a_target_length_stays_near_the_parent():
    lengths = {build.target_length(PROMPTS, 6, random.Random(seed)) for seed in range(200)}
    assert lengths == {4, 5, 6, 7, 8}


@given(st.integers(1, 100))
def test_there_is_room_for_the_wanted_words(num_words):
    assert build.max_tokens(num_words) >= 1.4 * num_words + 2


def test_a_childs_length_varies_by_the_deviation_within_its_bounds():
    limits = PROMPTS.model_copy(update={"max_words": 75, "min_target_words": 25, "length_deviation": 36.0})
    rng = random.Random(0)
    lengths = [build.target_length(limits, 50, rng) for _ in range(2000)]
    assert min(lengths) == 25 and max(lengths) == 75
    between = [length for length in lengths if 25 < length < 75]
    assert 0.4 < len(between) / len(lengths) < 0.6, "what lies within 0.7 deviations"
    assert {build.target_length(limits, None, rng) for _ in range(500)} == set(range(25, 51))


def test_an_answers_tokens_are_what_its_length_needs_and_at_most_the_limit():
    assert build.max_tokens(10) == build.max_tokens(10, 100) == 26
    assert build.max_tokens(60, 100) == 100

"""Drafts of prompts: what a model answers is checked, and what is missing comes from templates that are named."""

import random

import pytest

from spti_ray.public.draft_checks import distinct, is_readable, names_domain, of_kind, on_domain, usable_values
from spti_ray.public.drafting import NUM_EXAMPLES, compose_text, draft_prompts, swap_value
from spti_ray.public.drafting_examples import EXAMPLE_LISTS, LABEL_TEMPLATES, TEMPLATES, TEXT_TEMPLATES
from spti_ray.types import Completions

DOMAIN = "X-ray images of teeth"
LISTS = {
    "Subject": "molar, front tooth, wisdom tooth, jaw, milk tooth, crown, x",
    "Color": "light grey, white, dark grey, blue, bright white, x",
    "Detail": "a filling, a root canal, a crack, a gap, a bridge, x",
    "Background": "black, soft tissue, a film holder, bone, dark corners, x",
    "View": "from the side, close-up, tilted, panoramic, from below, x",
}


class Model:
    """A writer that answers by rule, and keeps what it was asked."""

    def __init__(self, text=lambda line: "", change=lambda text: ""):
        self.text, self.change, self.asked = text, change, []

    def __call__(self, requests):
        self.asked += requests
        return [Completions((self.answer(request.prompt),) * request.n) for request in requests]

    def answer(self, prompt):
        lines = prompt.splitlines()
        if lines[-1] == "New:":
            return self.change(lines[-2].removeprefix("Text: "))
        if lines[-1].endswith("Text:"):
            return self.text(lines[-1])
        return LISTS[lines[-1].rsplit(" ", 1)[1].rstrip(":")]


def good_text(line):
    values = dict(part.split(": ") for part in line.removesuffix(" Text:").rstrip(".").split(". "))
    return f"an X-ray image of teeth with a {values['Color']} {values['Subject']} and {values['Detail']}"


def test_a_model_that_answers_well_leaves_no_template():
    model = Model(good_text, lambda text: text.replace("an X-ray image", "a faded old X-ray image"))
    made = draft_prompts(DOMAIN, (), model)
    assert made.templates == frozenset() and list(made.attributes) == list(TEMPLATES)
    assert made.attributes["subject"] == tuple(LISTS["Subject"].split(", ")[:-1])
    assert made.attributes["detail"][0] == "filling", "articles are for the texts"
    assert len(set(made.examples)) == len(made.examples) == NUM_EXAMPLES == len(made.example_attributes)
    for text, values in zip(made.examples, made.example_attributes, strict=True):
        assert values["subject"] in text and values["color"] in text
    assert all(new.startswith("a faded old") for _, new in made.rephrase_examples)
    assert all(filled in made.examples and "_" in blanks for blanks, filled in made.fill_examples)


def test_the_model_is_shown_the_line_and_the_labels_and_nothing_else_of_the_users():
    model = Model(good_text)
    draft_prompts(DOMAIN, ("caries", "healthy"), model)
    assert all(DOMAIN in request.prompt or "New:" in request.prompt for request in model.asked)
    assert sum("Subject: caries." in request.prompt for request in model.asked) == NUM_EXAMPLES / 2


def test_labels_are_the_subjects_in_turn():
    made = draft_prompts(DOMAIN, ("caries", "healthy"), None)
    assert not {"subject", "detail"} & made.attributes.keys()
    assert [values["subject"] for values in made.example_attributes] == ["caries", "healthy"] * (NUM_EXAMPLES // 2)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "a photo of a brown terrier with wet fur beside a pond",
        "a lovely day at the beach with friends",
        "X-ray X-ray X-ray X-ray",
        "I can not do that [1]",
    ],
)
def test_answers_that_are_copies_nonsense_or_about_something_else_are_replaced_by_templates(answer):
    made = draft_prompts(DOMAIN, (), Model(lambda line: answer, lambda text: answer))
    assert {"examples", "rephrase_examples"} <= made.templates
    assert all(text.startswith(f"one of many {DOMAIN}, showing ") for text in made.examples)
    assert made.template_examples == made.template_changes == frozenset(range(NUM_EXAMPLES))


def test_a_description_that_nobody_would_write_is_replaced_by_a_template():
    made = draft_prompts(DOMAIN, (), Model(lambda line: f"{good_text(line)} of teeth on teeth"))
    assert "examples" in made.templates and len(made.template_examples) == NUM_EXAMPLES


def test_a_model_that_repeats_itself_gets_one_example_out_of_it():
    made = draft_prompts(
        DOMAIN, ("caries",), Model(lambda line: "an X-ray image of teeth with caries, light grey, a filling")
    )
    assert "some examples" in made.templates and len(set(made.examples)) == NUM_EXAMPLES
    assert made.template_examples == frozenset(range(1, NUM_EXAMPLES))


def test_the_values_that_most_answers_give_come_first_and_odd_ones_not_at_all():
    answers = [
        "molar, jaw, 12 teeth, a Molar, https://x, see: this, one two three four five, cut o",
        "jaw, molar\nSubject: dog",
        "jaw; terrier, tooth tooth, ok",
    ]
    assert usable_values(answers, {"terrier"}) == ("jaw", "molar")


def test_values_that_are_nearer_to_what_was_shown_than_to_the_domain_are_dropped():
    def alike(texts, others):
        about = {"molar": 0.9, "jaw": 0.7, "crown": 0.8, "milk tooth": 0.6, "front tooth": 0.5, "wisdom tooth": 0.3}
        if others[0] == DOMAIN:
            return [[about.get(text, 0.0), *[0.4] * (len(others) - 1)] for text in texts]
        return by_letters(texts, others)

    made = draft_prompts(DOMAIN, (), Model(good_text), alike)
    assert made.attributes["subject"] == ("molar", "crown", "jaw", "milk tooth", "front tooth")
    assert {"detail", "background"} <= made.templates


def test_values_that_say_the_domain_or_a_label_again_are_dropped():
    made = draft_prompts("bright images of bone", ("soft tissue",), Model(good_text))
    assert "background" in made.templates, "three of its values are left, which is too few"
    assert made.attributes["background"] == TEMPLATES["background"]


def test_an_example_is_shown_with_those_values_only_that_it_has():
    made = draft_prompts(DOMAIN, (), Model(good_text))
    assert all(set(values) <= {"subject", "color", "detail"} for values in made.example_attributes)


def test_a_value_is_exchanged_for_another_of_its_list():
    values = {"color": "white", "view": "tilted"}
    lists = {"color": ("white", "grey"), "view": ("tilted",)}
    assert swap_value("a white tooth", values, lists, random.Random(0)) == "a grey tooth"
    assert swap_value("a tooth in whitewash", values, lists, random.Random(0)) is None


def test_a_composed_text_is_no_longer_than_what_is_usable():
    values = {"subject": "a dog", "detail": "long ears", "color": "red", "view": "close-up"}
    assert compose_text("slides", values, 1) == "one of many slides, showing a dog in red"
    assert compose_text("slides", values | {"kind": "puppy"}, 2) == "one of many slides, showing puppy, close-up"
    assert "showing a dog" in compose_text("slides", values | {"kind": LABEL_TEMPLATES["kind"][0]}, 0)
    assert len(compose_text("slides " * 20, values, 0).split()) == 20


def by_letters(texts, others):
    """A text embedder that knows equal texts from others."""
    return [[1.0 if text == other else 0.0 for other in others] for text in texts]


def test_labels_have_lists_of_their_own():
    model = Model(good_text)
    made = draft_prompts(DOMAIN, ("caries", "healthy"), model)
    assert made.label_attributes["caries"]["kind"] == tuple(LISTS["Subject"].split(", ")[:-1])
    assert {name: list(lists) for name, lists in made.label_attributes.items()} == {
        "caries": ["kind", "detail"],
        "healthy": ["kind", "detail"],
    }
    assert sum(f"Images: {DOMAIN}, caries. Subject:" in request.prompt for request in model.asked) == 1
    for values in made.example_attributes:
        assert set(values) <= {"subject", "kind", "detail", "color", "background", "view"}


def test_a_labels_list_that_fails_is_a_marked_template():
    made = draft_prompts(DOMAIN, ("caries",), None)
    assert made.label_attributes["caries"] == LABEL_TEMPLATES
    assert {"caries: kind", "caries: detail"} <= made.templates


def test_a_labels_values_are_about_that_label_and_no_other():
    def alike(texts, others):
        about = {"caries": {"crown", "jaw", "molar", "milk tooth"}, "healthy": {"front tooth"}}
        return [
            [0.9 if text in about.get(other, ()) else 0.3 if other == DOMAIN else 0.1 for other in others]
            for text in texts
        ]

    made = draft_prompts(DOMAIN, ("caries", "healthy"), Model(good_text), alike)
    assert set(made.label_attributes["caries"]["kind"]) == {"crown", "jaw", "molar", "milk tooth"}
    assert "healthy: kind" in made.templates, "one value is too few"


def test_a_value_of_another_kind_of_list_is_dropped():
    def alike(texts, others):
        near = {"silver": "white", "camera": "a ring", "truck": "terrier"}
        return [[1.0 if near[text] == other else 0.0 for other in others] for text in texts]

    assert of_kind(["silver", "camera", "truck"], "color", alike) == ["silver"]


def test_a_list_of_values_of_another_kind_is_a_template():
    def alike(texts, others):
        return [[1.0 if other in ("terrier", DOMAIN) else 0.5 for other in others] for _ in texts]

    made = draft_prompts(DOMAIN, (), Model(good_text), alike)
    assert {"color", "view"} <= made.templates and made.attributes["color"] == TEMPLATES["color"]


def test_a_domain_that_was_shown_is_no_other_domain():
    """`X-ray images of hands` is in the README, and among the examples that the model is shown."""
    shown = next(iter(EXAMPLE_LISTS))

    def alike(texts, others):
        return [[0.9 if other == shown else 0.1 for other in others] for _ in texts]

    assert on_domain(["a dog"], shown, alike) == [0.9]


def test_texts_that_say_the_same_are_one():
    assert distinct(["A red dog.", "a red dog", "a cat"], None) == [True, False, True]
    near = [[1.0, 0.97, 0.1], [0.97, 1.0, 0.1], [0.1, 0.1, 1.0]]
    assert distinct(["a red dog", "one dog in red", "a cat"], lambda texts, others: near) == [True, False, True]


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("a photo of a grey truck from the side", True),
        ("photos of animals, food, silver, camera, truck, close-up", False),
        ("a photo of a dog with", False),
        ("a dog dog in the grass", False),
        ("a tree and a tree by a tree", False),
        ("Color: red", False),
        ("a _ dog", False),
    ],
)
def test_a_text_that_nobody_would_write_is_not_readable(text, readable):
    assert is_readable(text) is readable


def test_every_template_is_readable_with_its_values():
    values = {name: lists[0] for name, lists in TEMPLATES.items()}
    assert all(is_readable(template.format(domain=DOMAIN, **values)) for template in TEXT_TEMPLATES)


def test_a_text_names_the_domain_by_any_of_its_words():
    domain = "photos and drawings for children"
    assert names_domain("a photo of a truck", domain) and names_domain("children at play", domain)
    assert not names_domain("a truck for a man and a dog", domain)


def test_it_is_told_how_far_the_draft_is():
    told = []
    draft_prompts(DOMAIN, ("caries",), Model(good_text), told=lambda *step: told.append(step))
    assert list(dict.fromkeys(what for what, _, _ in told)) == ["lists", "lists of labels", "examples", "variations"]
    for what in ("lists", "examples"):
        steps = [(done, total) for name, done, total in told if name == what]
        assert [done for done, _ in steps] == sorted({done for done, _ in steps}) and steps[-1][0] == steps[-1][1] > 0

"""Drafts of prompts: what a model answers is checked, and what is missing comes from templates that are named."""

import random

import pytest

from spti_ray.public.drafting import NUM_EXAMPLES, compose_text, draft_prompts, swap_value, usable_values
from spti_ray.public.drafting_examples import TEMPLATES
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
    assert "subject" not in made.attributes
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
    assert all(text.startswith(DOMAIN) for text in made.examples)


def test_a_model_that_repeats_itself_gets_one_example_out_of_it():
    made = draft_prompts(
        DOMAIN, ("caries",), Model(lambda line: "an X-ray image of teeth with caries, light grey, a filling")
    )
    assert "some examples" in made.templates and len(set(made.examples)) == NUM_EXAMPLES


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
        return [[about.get(text, 0.0), *[0.4] * (len(others) - 1)] for text in texts]

    made = draft_prompts(DOMAIN, (), Model(good_text), alike)
    assert made.attributes["subject"] == ("molar", "crown", "jaw", "milk tooth", "front tooth")
    assert {"detail", "background"} <= made.templates and not {"color", "view"} & made.templates


def test_values_that_say_the_domain_or_a_label_again_are_dropped():
    made = draft_prompts("bright images of bone", ("soft tissue",), Model(good_text))
    assert "background" in made.templates, "three of its values are left, which is too few"


def test_an_example_is_shown_with_those_values_only_that_it_has():
    made = draft_prompts(DOMAIN, (), Model(good_text))
    assert all(set(values) <= {"subject", "color", "detail"} for values in made.example_attributes)


def test_a_value_is_exchanged_for_another_of_its_list():
    values = {"color": "white", "view": "tilted"}
    lists = {"color": ("white", "grey"), "view": ("tilted",)}
    assert swap_value("a white tooth", values, lists, random.Random(0)) == "a grey tooth"
    assert swap_value("a tooth in whitewash", values, lists, random.Random(0)) is None


def test_a_composed_text_is_no_longer_than_what_is_usable():
    assert compose_text("slides", {"color": "red"}) == "slides, red"
    assert len(compose_text("slides", {str(i): "one two three" for i in range(20)}).split()) == 20

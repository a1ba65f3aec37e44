"""What of an answer is text: both sides, what models say instead of an answer, and descriptions that look like it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.models.answers import answer_text, caption_text, prompt_opens_reasoning, template_arguments

REFUSALS = """
I'm sorry, but I can't help with that.
I’m sorry, but I cannot assist with that request.
I'm really sorry, but I can't
I am sorry but I
I'm sorry. I can't describe people.
**I'm sorry**, but
"I'm sorry, but I can't
Sorry, I can't do that
Sorry, but no
Sorry, I cannot help you with this.
I can't assist with that request.
I can’t help with that.
I cannot provide a description of this image
I cannot and will not write that.
I'm unable to help with identifying people
I am not able to view images
I won't help with that
I do not feel comfortable describing this
I'm not comfortable with this
I must decline
I'm afraid I can't do that
I apologize, but this is not something that I do
My apologies, but
Unfortunately, I can't describe this
As an AI language model, I do not have eyes
As an AI, I
As a large language model, I can
I'm just an AI and cannot see
I am an AI assistant
No image provided
I don't see an image
Please provide the image
It seems you forgot the image
This request violates our policy
Okay. I'm sorry, but I can't
(I'm sorry, but I can't)
[I'm sorry, but I can't]
Sorry about that, I can't
Due to safety guidelines I can't create
Due to our content policy, I am unable to write
I understand, but I can't do that
I understand your request, but unfortunately, I'm unable to
I cannot in good conscience
Unable to describe this image
I don't have access to the image
I do not currently have access to images
There's no image here
There is no image attached
It seems the image was not uploaded
It looks like the image you sent didn't load
It looks like you haven't attached an image
It seems that no image
It appears there is no image
This content is against our usage policy
Es tut mir leid, aber das kann ich nicht
Lo siento, pero no puedo ayudar con eso
Je suis désolé, mais je ne peux pas
К сожалению, я не могу помочь
죄송합니다만 도와드릴 수 없습니다
Xin lỗi, tôi không thể
""".strip().splitlines()

THOUGHTS = """
Okay, the user wants a description of
Okay, so the user is asking for a short caption
Hmm, the user asks for a kite
The user is asking for
This user wants
Okay, so I need to write a caption
Okay, let's tackle this.
Okay. Let me craft
Alright, let's see.
We need to produce a caption
We should write a short caption
I need to come up with
First, I need to identify
Let me think about this
We are given a text
The prompt asks for
Let me draft a caption
Thinking: the user asks
Hmm, the user
User wants a short caption
We need a 5-word text about
Need to produce a caption
Here's a thinking process that leads to the caption:
(We need to write a caption)
analysisWe need to write a caption
<think>
<think>Okay
  <thinking>hm, a dog
<reasoning>a dog
[THINK]hm
◁think▷hm
<|channel|>analysis<|message|>We need to
<|START_THINKING|>a dog
""".strip().splitlines()

DESCRIPTIONS = """
a sorry-looking dog
okay sign hand
sorry card with a bear
I'm sorry card with flowers
sorry not sorry sticker
Sorry we're closed sign on a door
sorry, we are closed sign
an AI robot
an AI-generated face
I love you sign
I can see you poster
I can't keep calm poster
I can't believe it face
we can do it poster
I want you poster
I need coffee mug
I must go poster
I will survive lyrics
as an angel with wings
as a child plays
As a matter of fact poster
a refusal letter
sure thing sticker
so many cats
now open sign
okay, a red kite
first aid kit
well-dressed man
the user guide on a table
the user is holding a phone
user interface of a phone
a thinking face emoji
thinking man statue
think different poster
let it snow sign
let's go sign
let me in cat
we should all be feminists poster
unfortunately timed photo of a bird
no photo sign
no image placeholder icon
no pictures allowed sign
please recycle sign
please knock sign
it is a dog
final score board
analysis of a chart
your image here placeholder
content cat on a sofa
the prompt box on a screen
It looks like your typical kitchen with a table
It seems the image shows a fractured left wrist
The image is against a white backdrop
It looks like the picture of a lake
It looks like you and me
It seems the image does not show a fracture
the image is not in focus
(a red kite)
[a red kite]
there is no picture in the frame
unable to stop sign
due to rain we are closed sign
I understand poster
I don't have a plan poster
sorry about the mess sign
draft beer sign
let me draft horse
need to know sign
we need a plan poster
user guide on a table
hmm face emoji
thinking cap
here is a red kite
""".strip().splitlines()


@pytest.mark.parametrize("text", [*REFUSALS, *THOUGHTS])
def test_a_refusal_or_thinking_aloud_is_no_text(text):
    assert (
        answer_text(text)
        == answer_text(f"\n {text}")
        == caption_text(text.upper() if text.isascii() and " " in text[:9] else text)
        == ""
    )


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_a_description_that_only_looks_like_it_is_left_alone(text):
    assert answer_text(text) == text and answer_text(text.capitalize()) == text.capitalize()


WORDS = (
    "a an the sorry okay sure unable user wants thinking assist image AI model kite red dog cannot help so now".split()
)


@given(st.sampled_from(["a", "an", "the", "two", "red", "dog", "photo", "smiling"]), st.lists(st.sampled_from(WORDS)))
def test_a_phrase_that_begins_with_what_it_shows_passes_whatever_words_follow(first, rest):
    text = " ".join([first, *rest])
    if not re.match(r"the (?:user wants|image (?:was|is|cannot))", text):
        assert answer_text(text) == text


@given(st.sampled_from(REFUSALS), st.text(max_size=30))
def test_nothing_that_follows_makes_a_refusal_a_text(refusal, rest):
    assert answer_text(f"{refusal} {rest}").strip() in ("", rest.split("</think>")[-1].strip())


def test_every_text_and_caption_can_be_encoded():
    assert answer_text("a red \ud83d kite") == caption_text("a red \ud83d\nkite") == "a red ? kite"
    assert answer_text("an \U0001f34e") == "an \U0001f34e"


MARKS = [
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"), ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysis", "assistantfinal"), ("<|START_THINKING|>", "<|END_THINKING|>"),
]  # fmt: skip


@pytest.mark.parametrize(("opening", "closing"), MARKS)
@given(thoughts=st.lists(st.sampled_from(["We need a kite.", "The user wants this", "\n", "a red dog"])).map(" ".join))
def test_what_comes_after_the_end_of_the_reasoning_is_the_text(opening, closing, thoughts):
    said = f"{opening}We {thoughts}"
    assert caption_text(f"{said}{closing}A red kite") == "A red kite"
    assert caption_text(said) == "", "reasoning that does not end is no text"
    assert caption_text(f"{said}{closing}") == ""


def test_where_the_prompt_opened_the_reasoning_only_what_follows_its_end_is_text():
    assert answer_text("a dog, so a kite\n</think>\n\nA red kite", opened=True).strip() == "A red kite"
    assert answer_text("one</think>two</think>three") == "three", "the last end counts"
    assert answer_text("a dog, so a kite", opened=True) == "" and answer_text("a dog, so a kite") == "a dog, so a kite"
    assert caption_text("<think>a</think><answer>A red kite</answer>") == "A red kite"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("a red kite over the s", ""),
        ("\n\na red kite over the s", ""),
        ("a red kite\nText: a blu", "a red kite"),
        ("a red kite\n", "a red kite"),
        ("A red kite flies. Below it a ch", "A red kite flies."),
        ("A red kite flies.", "A red kite flies."),
        ("A kite. A dog.\nA ca", "A kite. A dog."),
        ("<think>a</think>a red ki", ""),
    ],
)
def test_of_an_answer_that_was_cut_off_only_what_is_whole_counts(text, whole):
    assert caption_text(text, truncated=True) == whole


def test_a_prompt_that_begins_the_reasoning_is_known_by_its_end():
    assert prompt_opens_reasoning("<|user|>hi<|assistant|><think>\n") and prompt_opens_reasoning(
        "[INST]hi[/INST][THINK]"
    )
    assert not prompt_opens_reasoning("<|assistant|><think>\n\n</think>\n\n") and not prompt_opens_reasoning(
        "say <think> twice: "
    )


def test_a_template_that_knows_of_thinking_is_asked_without_it():
    assert template_arguments("{% if enable_thinking %}", {}) == {"enable_thinking": False}
    assert template_arguments("{% if enable_thinking %}", {"enable_thinking": True}) == {"enable_thinking": True}
    assert template_arguments("{{ messages }}", {"a": 1}) == {"a": 1} and template_arguments(None, {}) == {}

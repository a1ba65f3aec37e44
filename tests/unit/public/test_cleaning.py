import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.public.cleaning import clean
from spti_ray.public.words import normal_form


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (" a rustic plate with colorful leaves", "a rustic plate with colorful leaves"),
        (' an old sign with a letter "O"', "an old sign with a letter O"),
        (" a delicate **", "a delicate"),
        ("**a red dog**", "a red dog"),
        ('Sure! Here is a caption: "a red dog"', "a red dog"),
        ("Sure, here is the text: a red dog", "a red dog"),
        ("Here's a caption for you: a red dog", "a red dog"),
        ("The new caption is: a red dog", "a red dog"),
        ("Caption: “a red dog”", "a red dog"),
        ("- a red dog.", "a red dog"),
        ("12) a red dog", "a red dog"),
        ("a red dog. It runs across the field", "a red dog"),
        ("\n\n  a red dog\nText: a blue cat", "a red dog"),
        ("a a red red apple", "a red apple"),
        ("a red dog with a", "a red dog"),
        ("a red dog, and", "a red dog"),
        ("a   red\tdog ,", "a red dog"),
        ("New (5 words): a red dog", "a red dog"),
        ("Filled (5 words): a red dog", "a red dog"),
        ("Color: red. Text (4 words): a red dog", "a red dog"),
        ("a red dog (5 words)", "a red dog"),
        ("<think>\nThe user wants a dog.\n</think>\n\na red dog", "a red dog"),
        ("a blue cat</think>a red dog", "a red dog"),
    ],
)
def test_what_wraps_an_answer_is_taken_off(raw, text):
    assert clean(raw, 2, 9) == text


@pytest.mark.parametrize(
    "text",
    [
        "a child's toy car",
        "ok sign with hand",
        "text on a wall",
        "here comes the sun",
        "new shoes on a shelf",
        "a flag in red and white and blue",
        "a clock face with a 12",
        "a black-and-white cat",
        "a naïve painting",
        "St. Bernard dog",
    ],
)
def test_a_good_text_is_left_as_it_is(text):
    assert clean(text, 2, 9) == text


@pytest.mark.parametrize(
    "raw",
    [
        " a _ car with a _ mirror",
        " a loading cart with a wheel with a wheel with wheels",
        "a cat and a dog and a cat and a dog",
        "a cat with a hat and a hat and a cat",
        "",
        "  \n \n",
        "Here are three captions: 1. a cat",
        "a red dog <b>with</b> a hat",
        "see https://example.org for a red dog",
        "a red dog | a blue dog",
        "[a red dog]",
        "a #red dog",
        "a red\u200bdog in the snow",
        "красный кот сидит",
        "a 3 4 5 6 7 8",
        "the of and with",
        "Sure! Here is a caption:",
        "New (5 words):",
        "I'm sorry, but I can't help with that",
        "Sure! Here is a caption: I'm sorry, but I can't help",
        "Okay, the user wants a red dog",
        "<think>a red dog",
        "a red dog</think>I cannot describe this",
    ],
)
def test_what_can_not_be_repaired_is_dropped(raw):
    assert clean(raw, 2, 16) is None


def test_the_number_of_words_is_kept_within_the_limits():
    assert clean(" a small", 3, 9) is None
    assert clean(" a small", 2, 9) == "a small"
    assert clean("one two three four", 2, 3) is None
    assert clean("one two three of the", 4, 9) is None  # The limits hold for what is left.


@given(
    st.text(max_size=120)
    | st.lists(st.sampled_from(' a red dog _ " * - . : \n Sure! with with'.split(" "))).map(" ".join)
)
def test_whatever_comes_in_a_clean_text_is_one_plain_line_within_the_limits(raw):
    text = clean(raw, 2, 6)
    if text is not None:
        assert 2 <= len(text.split()) <= 6
        assert text == " ".join(text.split()) and text.isprintable()
        assert not set('_"|<>{}[]\\\n') & set(text)
        assert normal_form(text)


@given(
    st.lists(st.sampled_from("a red blue dog cat with hat on the sky".split()), min_size=1, max_size=9).map(" ".join)
)
def test_cleaning_a_clean_text_changes_nothing(raw):
    text = clean(raw, 1, 9)
    if text is not None:
        assert clean(text, 1, 9) == text


def test_texts_that_differ_in_case_and_punctuation_only_are_duplicates():
    assert normal_form("A red-dog, sitting!") == normal_form("a Red dog sitting")
    assert normal_form("a red dog") != normal_form("a red dogs")


def test_as_many_sentences_are_kept_as_are_wanted_and_none_that_was_cut_off():
    raw = "A bed stands by a wall. The lamp is lit. A window shows trees. On the floor a rug"
    assert clean(raw, 2, 40) == "A bed stands by a wall"
    assert clean(raw, 2, 40, sentences=2) == "A bed stands by a wall. The lamp is lit."
    assert clean(raw, 2, 40, sentences=9) == "A bed stands by a wall. The lamp is lit. A window shows trees."
    assert clean("A bed. A lamp.", 2, 40, sentences=3) == "A bed. A lamp."
    assert clean("A bed that was cut off by the limit", 2, 40, sentences=3) == "A bed that was cut off by the limit"

"""Texts in other scripts than Latin survive cleaning and are told apart; English ones are what they always were."""

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.config.loading import ConfigError
from spti_ray.models.answers import answer_text
from spti_ray.planning.checks import check_prompts
from spti_ray.public import cleaning
from spti_ray.public.cleaning import clean
from spti_ray.public.population import Population
from spti_ray.public.prompts import mask, max_tokens
from spti_ray.public.words import is_out_of_style, normal_form, script_without_spaces, scripts_of, tokens_per_word
from spti_ray.types import Completions

TEXTS = {
    "Russian": "красный кот сидит на крыше",
    "Greek": "μια κόκκινη γάτα σε στέγη",
    "Arabic": "قطة حمراء تجلس على السطح",
    "Arabic, with vowels": "قِطَّةٌ حَمْرَاءُ عَلَى السَّطْحِ",
    "Persian, with joiners": "گربه‌ای قرمز می‌نشیند روی بام",
    "Hebrew": "חתול אדום יושב על הגג",
    "Hebrew, with points": "חָתוּל אָדֹם יוֹשֵׁב עַל הַגָּג",
    "Hindi": "एक लाल बिल्ली छत पर बैठी है",
    "Bengali": "একটি লাল বিড়াল ছাদে বসে আছে",
    "Tamil": "ஒரு சிவப்பு பூனை கூரையில் அமர்ந்திருக்கிறது",
    "Korean": "빨간 고양이가 지붕 위에 앉아 있다",
    "Vietnamese": "một con mèo đỏ ngồi trên mái nhà",
    "Georgian": "წითელი კატა ზის სახურავზე",
    "Armenian": "կարմիր կատու նստած է տանիքին",
    "Amharic": "ቀይ ድመት በጣሪያው ላይ ተቀምጣለች",
    "German": "eine rote Katze auf dem Dächlein der Straße",
    "Turkish": "çatıda oturan kırmızı bir kedi İstanbul",
}
UNSPACED = {
    "Han": "一只红色的猫",
    "Hiragana": "ねこのしゃしん",
    "Katakana": "ネコ",
    "Thai": "แมวสีแดง",
    "Lao": "ແມວສີແດງ",
    "Khmer": "ឆ្មាពណ៌ក្រហម",
    "Myanmar": "ကြောင်နီ",
    "Tibetan": "ཞི་མི་དམར་པོ",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_in_another_script_survives_cleaning_in_a_run_whose_prompts_are_in_it(text):
    scripts = scripts_of([text])
    for form in ("NFC", "NFD"):
        raw = f' "{unicodedata.normalize(form, text)}."\n'
        assert clean(raw, 2, 16, scripts=scripts) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_duplicates_are_recognised_and_others_are_not(text):
    words = text.split()
    assert normal_form(text) and normal_form(text) != normal_form(" ".join(words[1:]))
    # The Turkish i is another letter in upper case.
    upper = text if "ı" in text else text.upper()
    for same in (upper, unicodedata.normalize("NFD", text), f"«{text}»!", text.replace(" ", ", "), f"\u200f{text}"):
        assert normal_form(same) == normal_form(text)
    assert len(normal_form(text).split()) == len(words)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_words_are_masked_counted_and_excluded(make_config, text):
    words = text.split()
    masked = mask(text, 0.4, random.Random(1)).split()
    assert "_" in masked and set(masked) - {"_"} <= set(words)

    def asked(**more):
        config = make_config(evolution__candidates=2, prompts__domain=text, prompts__examples=[text], **more)
        population = Population(config, engines=None)
        slot = population._slots.new("g00-000000", "all")
        found = population._first_usable(Completions((text,)), slot, set())
        return found, next(iter(population._requests([slot], 0, [])))

    found, request = asked()
    assert found == text
    assert request.max_tokens >= 2 * len(text.encode()) / len(words), "a tokenizer that knows bytes alone has room"
    assert asked(prompts__exclude_words=[words[1].upper() if "ı" not in text else words[1]])[0] is None


def test_answers_in_a_script_that_no_prompt_is_in_are_dropped():
    assert clean(TEXTS["Russian"], 2, 16) is None and clean(UNSPACED["Han"] + " " + UNSPACED["Han"], 1, 16) is None
    assert clean(TEXTS["Hindi"], 2, 16, scripts=scripts_of([TEXTS["Russian"]])) is None
    assert clean("a red кот", 2, 16, scripts=scripts_of([TEXTS["Russian"]])) == "a red кот"


@pytest.mark.parametrize(
    ("text", "shown", "is_out"),
    [
        ("a red SKILLSCREEN camera", "a red kite", True),
        ("a red gel®", "a red kite", True),
        ("a red gel = a kite", "a red kite", True),
        ("a USB stick and the NASA logo", "a red kite", False),
        ("a red STOPPING sign", "a WARNING sign", False),
        ("a gel® for $5", "a cream® for $9", False),
        ("a boy's half-red kite, no. 5 (new)", "a red kite", False),
        ("ЖЁЛТЫЙ кот", "рыжий кот", True),
        ("عدد ٥ أحمر", "قطة حمراء", False),
    ],
)
def test_symbols_and_words_in_capitals_are_out_of_style_unless_the_writer_was_shown_some(text, shown, is_out):
    assert is_out_of_style(text, shown) is is_out


def test_sentences_end_and_texts_are_trimmed_in_other_scripts_too():
    two = "एक बिल्ली बैठी है। एक कुत्ता सोता है।"
    assert clean(two, 2, 16, scripts=scripts_of([two])) == "एक बिल्ली बैठी है"
    assert clean("هل هذه قطة حمراء؟ نعم", 2, 16, scripts=("Arabic",)) == "هل هذه قطة حمراء"
    assert clean("\u200fقطة حمراء،", 2, 16, scripts=("Arabic",)) == "قطة حمراء"
    assert clean("a red\u200bdog in the snow", 2, 16) is None and clean("a red \u200c dog", 2, 16) is None


@pytest.mark.parametrize(("script", "text"), UNSPACED.items(), ids=UNSPACED)
@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("prompts.domain", lambda text: {"prompts__domain": f"photos of {text}"}),
        ("prompts.examples", lambda text: {"prompts__examples": ["a dog", text]}),
        ("prompts.attributes", lambda text: {"prompts__attributes": {"color": ["red", text]}}),
        ("prompts.attributes", lambda text: {"prompts__attributes": {text: ["red"]}}),
        ("prompts.rephrase_examples", lambda text: {"prompts__rephrase_examples": [{"text": "a dog", "new": text}]}),
        ("prompts.fill_examples", lambda text: {"prompts__fill_examples": [{"blanks": "a _", "filled": text}]}),
        ("prompts.exclude_words", lambda text: {"prompts__exclude_words": [text]}),
        ("evolution.labels", lambda text: {"evolution__labels": [{"name": text}]}),
    ],
)
def test_scripts_without_spaces_are_refused_by_name_at_planning(make_config, script, text, setting, changes):
    with pytest.raises(ConfigError) as caught:
        check_prompts(make_config(**changes(text)))
    assert str(caught.value).startswith(f"{setting}: is in ") and script in str(caught.value)
    check_prompts(make_config(method="pe-image", **changes(text)))  # no writer: nothing is counted


def test_scripts_with_spaces_are_planned_and_a_label_may_be_named_in_any_script_if_it_has_a_hint(make_config):
    for text in TEXTS.values():
        check_prompts(make_config(prompts__domain=text, evolution__labels=[{"name": text}]))
    check_prompts(make_config(evolution__labels=[{"name": "猫", "hint": "cat"}]))
    assert script_without_spaces("𓃠") == "that of egyptian hieroglyph e013" and not script_without_spaces(
        "1 − 2 = 3 ☂ é"
    )


# The same functions before other scripts were known.
_OLD_END = re.compile(r"(?<=[a-z]{2})[.!?;](?:\s|$)")


def old_normal_form(text):
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def old_clean(raw, min_words, max_words, sentences=1):
    line = next((part.strip() for part in raw.splitlines() if part.strip()), "")
    line = cleaning._BULLET.sub("", line)
    line = cleaning._COUNT.sub("", cleaning._PREAMBLE.sub("", cleaning._ECHO.sub("", line)))
    ends = [match.start() for match in _OLD_END.finditer(line)]
    line, ended = (line[: ends[min(sentences, len(ends)) - 1]], sentences > 1) if ends else (line, False)
    line = " ".join(line.replace('"', "").split()).strip("\"'`*_ ").rstrip(".,;:!?- ").strip("\"'`*_ ")
    if not line or cleaning._MARKUP.search(line) or "_" in line or not line.isprintable():
        return None
    words = cleaning._without_repeats(line.split(" "))
    while words and not ended and cleaning._dangles(words[-1]):
        words.pop()
    if not min_words <= len(words) <= max_words:
        return None
    letters = sum(character.isalpha() and character.isascii() for word in words for character in word)
    if letters < 0.7 * sum(len(word) for word in words) or cleaning._stutters(words):
        return None
    return " ".join(words).rstrip(",;: ") + ("." if ended else "")


ASCII = st.text(st.characters(max_codepoint=127), max_size=120) | st.lists(
    st.sampled_from("a red dog The CAT sits. with and 12 on, it's well-known ; ( ) ! ? : _ * \n - New Sure,".split(" "))
).map(" ".join)


@given(ASCII, st.integers(1, 3))
def test_what_is_ascii_is_cleaned_and_compared_as_it_always_was(raw, sentences):
    assert normal_form(raw) == old_normal_form(raw)
    if answer_text(raw) == raw:
        before = old_clean(raw, 2, 12, sentences)
        assert clean(raw, 2, 12, sentences) == before or (before and not answer_text(before))
    assert tokens_per_word([raw]) == 2.0 and max_tokens(7, None, 2.0) == max_tokens(7) == 20

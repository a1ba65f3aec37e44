from collections import Counter

import numpy as np
import pytest

from spti_ray.public.counted import to_come
from spti_ray.public.population import Population
from spti_ray.public.subjects import Subjects
from spti_ray.public.themes import Theme
from spti_ray.types import Candidate, Candidates, NoisyHistogram, Selected

LABELS = [{"name": "pets", "hint": "cat"}, {"name": "rides", "hint": "car"}]
WORDS = ("cat", "car", "kite", "apple", "train", "rose", "lamp", "bell")


class WordEmbedder:
    """A text stands in the direction of the words of `WORDS` that it holds."""

    def embed_texts(self, texts):
        for text in texts:
            row_E = np.array([text.split().count(word) for word in WORDS], np.float32)
            yield None if "broken" in text else row_E / max(1.0, float(np.linalg.norm(row_E)))


class Asked:
    """What a text is asked for."""

    def __init__(self, label="all", parent=None):
        self.label, self.parent = label, parent


def by_words(engines):
    """The engines, with a text embedder that knows words alone."""
    engines.embed_texts = WordEmbedder().embed_texts
    return engines


def theme(number, label="all"):
    return Theme(f"g00-theme-{number:06d}", label, (f"g00-{number:06d}",))


def parent(number, text, label="all"):
    return Candidate(f"g00-{number:06d}", text, label, 0)


def learnt(texts, labels=None):
    subjects = Subjects(WordEmbedder(), labels or {})
    subjects.learn([theme(i) for i in range(len(texts))], {f"g00-{i:06d}": text for i, text in enumerate(texts)})
    return subjects


def held(subjects, text, asked):
    ((_, _, holds),) = subjects.holding([(asked, text)])
    return holds


def test_a_text_that_is_nearer_to_another_labels_name_does_not_hold_its_label():
    subjects = Subjects(WordEmbedder(), {"pets": "cat", "rides": "car"})
    asked = Asked("rides")
    assert held(subjects, "a blue car", asked) and not held(subjects, "a big cat", asked)
    assert held(subjects, "a cat in a car", asked), "as near to its own"
    assert held(subjects, "a broken cat", asked), "nobody can tell"


def test_a_text_holds_its_theme_if_at_most_two_others_are_nearer():
    subjects = learnt(["a red kite", "a cat", "an apple", "a train"])
    asked = Asked(parent=parent(0, "a red kite"))
    assert held(subjects, "a blue kite", asked)
    assert held(subjects, "a cat and an apple", asked), "two are nearer"
    assert not held(subjects, "a cat an apple a train", asked), "three are nearer"
    assert held(subjects, "a cat an apple a train", Asked()), "a new text has no theme"
    assert held(subjects, "a cat an apple a train", Asked(parent=parent(9, "a bell"))), "its parent is of no theme"


def test_what_could_not_be_embedded_is_neither_nearer_nor_farther_than_anything():
    subjects = learnt(["a red kite", "a broken cat", "an apple", "a train"])
    assert held(subjects, "a cat an apple a train", Asked(parent=parent(0, "a red kite"))), "two others are left"
    assert held(subjects, "an apple", Asked(parent=parent(1, "a broken cat")))
    assert held(learnt(["a broken cat", "a broken car"]), "an apple", Asked(parent=parent(0, "a broken cat")))
    labels = Subjects(WordEmbedder(), {"pets": "a broken cat", "rides": "car"})
    assert held(labels, "a car", Asked("pets")) and held(labels, "a cat", Asked("rides"))


def test_with_the_next_vote_the_themes_before_it_are_forgotten():
    subjects = learnt(["a red kite", "a cat", "an apple", "a train"])
    asked, astray = Asked(parent=parent(0, "a red kite")), "a cat an apple a train"
    assert not held(subjects, astray, asked)
    subjects.learn([theme(0), theme(1)], {"g00-000000": "a kite", "g00-000001": "a bell"})
    assert held(subjects, astray, asked)
    subjects.learn([], {})
    assert held(subjects, astray, asked)


def test_what_it_is_given_streams_through_in_order():
    taken = []

    def texts():
        for i in range(5):
            taken.append(i)
            yield Asked(), f"a kite {i}"

    stream = Subjects(WordEmbedder(), {}).holding(texts())
    assert next(stream)[1] == "a kite 0" and taken == [0]
    assert [text for _, text, _ in stream] == [f"a kite {i}" for i in range(1, 5)]


def histogram(candidates):
    return NoisyHistogram(0, tuple(c.id for c in candidates), np.arange(len(candidates)), 1.0, "")


def test_a_text_that_left_its_label_is_asked_for_again_and_then_the_parents_stays(make_config, local_engines):
    config = make_config(
        evolution__labels=LABELS, evolution__candidates=4, prompts__hold_subject=True, prompts__attempts=2
    )
    answers = iter(["a blue cat", "a small cat", "a green car", "a pink cat"])
    engines = by_words(local_engines(answer=lambda request: next(answers)))
    population = Population(config, engines)
    parents = [
        Selected(parent(0, "a red cat", "pets"), 5, 1),
        Selected(parent(1, "a red car", "rides"), 5, 1),
    ]
    children = [c for c in population.variation_api(1, parents) if c.parent_id]
    assert {(c.label, c.text) for c in children} == {("pets", "a blue cat"), ("rides", "a green car")}
    again = [request.prompt.splitlines()[-1] for request in engines.requests]
    assert [("Subject: car. " in line) for line in again] == [False, True, True], "the prompt names the label"
    answers = iter(["a cat with a hat", "a grey cat", "a white cat"])
    stays = {c.text for c in population.variation_api(2, parents) if c.parent_id and c.label == "rides"}
    assert stays == {"a red car"}, "after the last attempt"


def test_a_text_that_left_its_theme_is_asked_for_again(make_config, local_engines):
    config = make_config(
        evolution__candidates=5, evolution__themes=[4], prompts__hold_subject=True, evolution__keep_survivors=True
    )
    texts = ["a red kite", "a cat", "an apple", "a train"]
    candidates = Candidates(tuple(parent(i, text) for i, text in enumerate(texts)))
    answers = iter(["a cat an apple a train", "a yellow kite"])
    population = Population(config, by_words(local_engines(answer=lambda request: next(answers))))
    population.learn(candidates, histogram(candidates), [theme(i) for i in range(4)])
    selected = [Selected(candidates.items[0], 9, 1000)]
    config_one = [c.text for c in _first_children(population, selected, 1)]
    assert config_one == ["a yellow kite"] and population.outcomes == {"accepted when asked again": 1}


def _first_children(population, selected, count):
    """The first so many children, each after its own attempts."""
    slots = [population._slots.variation(f"g01-{i:06d}", selected[0].candidate) for i in range(count)]
    return list(population._write(slots, 1, [item.candidate for item in selected], population._subjects))


@pytest.mark.parametrize("changes", [{}, {"prompts__hold_subject": True}])
def test_without_the_setting_or_without_subjects_no_text_is_embedded(make_config, local_engines, changes):
    engines = local_engines()
    list(Population(make_config(**changes), engines).random_api())
    assert engines.texts == []


def test_prompts_name_the_label_only_if_texts_are_held_to_it(make_config, local_engines):
    selected = [Selected(parent(0, "a red car", "rides"), 5, 1)]
    shown = Counter()
    for hold in (False, True):
        engines = by_words(local_engines(answer=lambda request: "a blue car"))
        config = make_config(evolution__labels=LABELS, prompts__hold_subject=hold)
        list(Population(config, engines).variation_api(1, selected))
        shown[hold] = sum("Subject: car." in request.prompt for request in engines.requests)
        assert engines.requests
    assert shown[False] == 0 and shown[True] > 0


def test_a_prompt_for_more_of_a_theme_names_the_label_too(make_config, local_engines):
    engines = by_words(local_engines(answer=lambda request: "a blue car"))
    variation = {"rephrase_share": 1}
    config = make_config(evolution__labels=LABELS, evolution__variation=variation, prompts__hold_subject=True)
    population = Population(config, engines)
    candidates = Candidates((parent(0, "a red car", "rides"), parent(1, "a big car", "rides")))
    both = Theme("g00-theme-000000", "rides", tuple(c.id for c in candidates))
    population.learn(candidates, histogram(candidates), [both])
    list(population.variation_api(1, [Selected(candidates.items[0], 5, 1)]))
    assert engines.requests and all("all of one kind: car.\n" in request.prompt for request in engines.requests)


def test_how_many_texts_are_to_be_embedded_is_known():
    told = []

    class Noting(WordEmbedder):
        def embed_texts(self, texts):
            told.append(to_come(texts))
            return super().embed_texts(texts)

    subjects = Subjects(Noting(), {"pets": "cat", "rides": "car"})
    subjects.learn([theme(0)], {"g00-000000": "a cat"})
    assert len(list(subjects.holding([(Asked(), "a cat")] * 3))) == 3
    assert told == [2, 1, 3], "labels, themes, and what is compared with them"

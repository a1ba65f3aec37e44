"""A writer that writes nothing of use: what ends a run before anything is charged, and what is told at the end."""

import json

import pytest

from spti_ray.errors import NothingMade, exit_code, one_line
from spti_ray.public.fallbacks import FallbackCount, FallbackCounts
from spti_ray.public.population import Population
from spti_ray.types import Candidate, Completions, Selected

REFUSED = "http://host/v1 answered 400: max_tokens is not supported"


class Answers:
    """`Engines.write` alone: `answer(n)` is the n-th answer."""

    def __init__(self, answer):
        self._answer = answer
        self._given = 0

    def write(self, requests):
        for _ in requests:
            self._given += 1
            yield self._answer(self._given - 1)


def numbered(n):
    return Completions(("a toy " + "".join("abcdefghij"[int(digit)] for digit in f"{n:04d}"),))


def refused(n):
    return Completions(("",), problem=REFUSED)


def good_until(most, otherwise=refused):
    return lambda n: numbered(n) if n < most else otherwise(n)


@pytest.mark.parametrize(
    ("otherwise", "words"),
    [
        (refused, REFUSED),
        (lambda n: None, "a batch of its requests failed"),
        (lambda n: Completions(("",)), "its answers are empty"),
        (lambda n: Completions(("I'm sorry, but I can't\nhelp.",)), "such as \"I'm sorry, but I can't help.\""),
        (lambda n: Completions(("Okay, the user wants a toy",)), "Okay, the user wants a toy"),
        (lambda n: Completions(()), "its answers are empty"),
        (lambda n: Completions(("a toy aaaa",)), "its answers were the same as earlier ones"),
        (lambda n: Completions((f"a secret {numbered(n).texts[0]}",)), "held words of prompts.exclude_words"),
        # What most answers are, and not what one is.
        (lambda n: Completions(("a toy aaaa" if n % 9 else "I'm sorry, but I can't",)), "the same as earlier ones"),
        (lambda n: Completions((f"a red toy number {n} over the",), truncated=(True,)), "a red toy number"),
    ],
)
def test_a_first_generation_that_nobody_wrote_ends_in_the_writers_own_words(make_config, otherwise, words):
    config = make_config(evolution__candidates=20, prompts__exclude_words=["secret"])
    for good in (1, 2) if "same" in words else (0, 2):
        candidates = Population(config, Answers(good_until(good, otherwise))).random_api()
        kept = [next(candidates) for _ in range(good)]
        with pytest.raises(NothingMade) as caught:
            next(candidates)
        assert len(kept) == good and words in str(caught.value) and "\n" not in str(caught.value)
        assert f"no usable text for {20 - good} of the 20" in str(caught.value)
        assert exit_code(caught.value) == 1 and one_line(caught.value) == str(caught.value)
    assert len(list(Population(config, Answers(good_until(3, otherwise))).random_api())) == 20, "fewer than nine tenths"


def test_it_is_known_from_the_candidates_that_an_earlier_attempt_left(make_config):
    config = make_config(evolution__candidates=20, evolution__labels=[{"name": "b", "hint": "big toys"}, {"name": "s"}])
    for good, ends in ((2, True), (3, False)):
        # As an earlier build wrote it, which did not look.
        earlier = Population(config, Answers(good_until(good)))
        slots = [earlier._slots.new(f"g00-{i:06d}", "bs"[i >= 10]) for i in range(20)]
        texts = [numbered(i).texts[0] if i < good else slot.fallback for i, slot in enumerate(slots)]
        left = [Candidate(slot.id, text, slot.label, 0) for slot, text in zip(slots, texts, strict=True)]
        population = Population(config, Answers(refused))
        if ends:
            with pytest.raises(NothingMade, match="18 of the 20"):
                population.check(left, ())
        else:
            population.check(left, ())


def test_a_run_that_goes_on_from_another_one_is_asked_the_same_of_its_first_generation(make_config):
    config = make_config(origin={"run": "r", "path": "x", "generation": 5}, evolution__candidates=12)
    parents = [Selected(Candidate(f"g04-{i:06d}", f"a red thing {'abc'[i]}", "all", 4), 9, 1) for i in range(2)]
    with pytest.raises(NothingMade, match="10 of the 10 of the first"):
        list(Population(config, Answers(refused)).variation_api(5, parents))
    children = [Candidate(f"g05-{i:06d}", parents[i % 2].candidate.text, "all", 5, f"g04-{i % 2:06d}", "fill")
                for i in range(10)]  # fmt: skip
    with pytest.raises(NothingMade, match="10 of the 10 of the first"):
        Population(config, Answers(refused)).check([*(item.candidate for item in parents), *children], parents)
    assert len(list(Population(config, Answers(refused)).variation_api(6, parents))) == 12, (
        "later ones are told, and go on"
    )


def test_fallbacks_of_each_generation_and_of_the_release_are_counted(make_config):
    config, written = make_config(), FallbackCounts()
    population = Population(config, Answers(good_until(10)), written)
    first = list(population.random_api())
    population.count(0, first, ())
    parents = [Selected(candidate, 1, 1) for candidate in first[:4]]
    second = list(population.variation_api(1, parents))
    population.count(1, second, parents)
    population.varied(first[:3])
    assert written.counts == {"0": FallbackCount(12, 2), "1": FallbackCount(8, 8), "release": FallbackCount(3, 3)}
    (line,) = written.lines()
    assert line.startswith("texts: 13 of 23 (56.5 %) are fallbacks") and "most in generation 1: 8 of 8" in line
    assert FallbackCounts.from_document(json.loads(json.dumps(written.document()))).counts == written.counts
    # Another attempt at the run counts what it finds on disk as well, once.
    population.count(0, first, ())
    assert written.total == FallbackCount(23, 13)


def test_a_run_without_fallbacks_says_so_and_one_without_texts_nothing():
    assert list(FallbackCounts().lines()) == []
    assert list(FallbackCounts({"0": FallbackCount(5, 0)}).lines()) == ["texts: 0 of 5 (0.0 %) are fallbacks"]


def test_why_answers_were_of_no_use_is_logged(make_config, caplog):
    list(Population(make_config(evolution__candidates=20), Answers(good_until(5))).random_api())
    assert [record.getMessage() for record in caplog.records] == [f"writer, generation 0: 45 time(s): {REFUSED}"]


def test_answers_that_are_not_wanted_are_counted_by_why_and_logged(make_config, caplog):
    parent = Candidate("g00-000000", "a red toy", "all", 0)
    config = make_config(prompts__exclude_words=["secret"], prompts__attempts=3)
    said = ["A red toy.", "a secret toy", "a green toy", "a green toy", "a red toy"]
    population = Population(config, Answers(lambda n: Completions((said[n],))))
    # Two are asked for, then both again, then the one that is missing still.
    assert [child.text for child in population.variations([parent], 2)] == ["a green toy", "a red toy"]
    assert [record.getMessage() for record in caplog.records] == [
        "writer, generation 0: 2 time(s): its answers were the texts that they were to vary",
        "writer, generation 0: 1 time(s): its answers held words of prompts.exclude_words",
        "writer, generation 0: 1 time(s): its answers were the same as earlier ones",
    ]

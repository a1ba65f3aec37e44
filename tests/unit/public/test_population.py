from collections import Counter

import numpy as np
import pytest

from spti_ray.public.population import Population
from spti_ray.public.themes import Theme
from spti_ray.public.words import normal_form
from spti_ray.types import Candidate, Candidates, NoisyHistogram, Selected

LABELS = [{"name": "pets", "share": 3, "hint": "cat"}, {"name": "rides", "share": 1, "hint": "car"}]


def survivor(number: int, text: str, label: str = "all", share: int = 1) -> Selected:
    return Selected(Candidate(f"g00-{number:06d}", text, label, 0), 10 - number, share)


def numbered():
    """A writer whose every answer is a new good text."""
    count = iter(range(10**6))
    letters = "abcdefghij"
    return lambda request: "a toy " + "".join(letters[int(digit)] for digit in f"{next(count):04d}")


def by_slot(answers):
    """A writer that gives its n-th answer to the n-th request."""
    queue = iter(answers)
    return lambda request: next(queue)


def test_the_first_population_has_one_good_text_per_candidate(make_config, local_engines):
    engines = local_engines()
    candidates = list(Population(make_config(), engines).random_api())
    assert {candidate.id for candidate in candidates} == {f"g00-{i:06d}" for i in range(12)}
    assert len(candidates) == 12
    assert {(c.generation, c.parent_id, c.operator, c.label) for c in candidates} == {(0, None, "random", "all")}
    assert all(2 <= len(candidate.text.split()) <= 16 for candidate in candidates)


def test_each_label_gets_its_quota_and_is_named_in_its_prompts(make_config, local_engines):
    engines = local_engines(answer=numbered())
    candidates = list(Population(make_config(evolution__labels=LABELS), engines).random_api())
    assert Counter(candidate.label for candidate in candidates) == {"pets": 9, "rides": 3}
    for candidate, request in zip(candidates, engines.requests, strict=True):
        assert ("Subject: cat" in request.prompt.splitlines()[-1]) == (candidate.label == "pets")


def test_the_first_text_is_there_before_the_last_was_asked_for(make_config, local_engines):
    engines = local_engines(batch_size=2)
    stream = Population(make_config(), engines).random_api()
    next(stream)
    assert len(engines.requests) == 2
    list(stream)
    assert len(engines.requests) >= 12


def test_nothing_is_asked_before_the_first_text_is_wanted(make_config, local_engines):
    engines = local_engines()
    population = Population(make_config(), engines)
    population.random_api()
    population.variation_api(1, [survivor(0, "a red cat")])
    assert engines.requests == []


@pytest.mark.parametrize(
    "bad", [None, "", " a _ car with a _ mirror", "cat", "a naked cat", "a big T-shirt", "a cup of hot tea"]
)
def test_a_bad_answer_is_asked_again_with_another_seed_and_the_same_attributes(make_config, local_engines, bad):
    config = make_config(
        evolution__candidates=3, prompts__exclude_words=["naked", "t-shirt", "Hot Tea"], runtime__seed=5
    )
    engines = local_engines(answer=by_slot(["a red cat", bad, "a blue car", "a pink kite"]))
    population = Population(config, engines)
    texts = {candidate.id: candidate.text for candidate in population.random_api()}
    assert texts == {"g00-000000": "a red cat", "g00-000001": "a pink kite", "g00-000002": "a blue car"}
    first, again = engines.requests[1], engines.requests[3]
    assert first.seed != again.seed

    def attributes(request):
        return request.prompt.splitlines()[-1].split("Text")[0]

    assert attributes(first) == attributes(again)
    assert population.outcomes == {"accepted": 2, "accepted when asked again": 1}


ONCE = "a fine kite"
"""Whoever gives this text again and again has written one."""


def test_after_the_last_attempt_a_new_text_falls_back_to_its_attributes(make_config, local_engines):
    config = make_config(evolution__candidates=3, prompts__attempts=3)
    engines = local_engines(answer=lambda request: ONCE)
    population = Population(config, engines)
    first, *candidates = population.random_api()
    assert first.text == ONCE
    assert len(engines.requests) == 7 and len({request.seed for request in engines.requests}) == 7
    for candidate, request in zip(candidates, engines.requests[1:], strict=False):
        subject, color = candidate.text.split()
        assert f"Subject: {subject}. Color: {color}." in request.prompt.splitlines()[-1]
    assert population.outcomes == {"accepted": 1, "fallback": 2}


def test_without_attributes_the_fallback_is_the_domain(make_config, local_engines):
    config = make_config(evolution__candidates=2)
    config = config.model_copy(update={"prompts": config.prompts.model_copy(update={"attributes": {}})})
    _, candidate = Population(config, local_engines(answer=lambda request: ONCE)).random_api()
    assert candidate.text == "toys"


def test_after_the_last_attempt_a_variation_falls_back_to_its_parents_text(make_config, local_engines):
    config = make_config(evolution__candidates=3)
    population = Population(config, local_engines(answer=lambda request: ""))
    candidates = list(population.variation_api(1, [survivor(0, "a red cat")]))
    assert [candidate.text for candidate in candidates] == ["a red cat"] * 3
    assert [candidate.parent_id for candidate in candidates] == [None, "g00-000000", "g00-000000"]


def test_the_number_of_attempts_is_configured(make_config, local_engines):
    engines = local_engines(answer=lambda request: ONCE)
    list(Population(make_config(evolution__candidates=2, prompts__attempts=1), engines).random_api())
    assert len(engines.requests) == 2


def test_it_says_before_each_further_attempt_how_many_texts_are_asked_for_again(make_config, local_engines):
    engines, again = local_engines(answer=lambda request: ONCE), []
    config = make_config(evolution__candidates=4, prompts__attempts=3)
    list(Population(config, engines, asked_again=again.append).random_api())
    assert again == [3, 3] and len(engines.requests) == 4 + sum(again)


def test_no_two_accepted_texts_are_duplicates(make_config, local_engines):
    config = make_config(evolution__candidates=3)
    answers = ["a red cat", "A red, cat", "a blue car", "a red cat.", "a pink kite"]
    population = Population(config, local_engines(answer=by_slot(answers)))
    texts = [candidate.text for candidate in population.random_api()]
    assert sorted(texts) == ["a blue car", "a pink kite", "a red cat"]


def test_a_variation_is_neither_its_parent_nor_another_survivor(make_config, local_engines):
    config = make_config(evolution__candidates=4, evolution__keep_survivors=False)
    parents = [survivor(0, "a red cat"), survivor(1, "a blue car")]
    # Slots: two children of the cat, two of the car.
    answers = ["A red cat", "a blue car", "a pink kite", "a green car", "a gray cat"]
    texts = [c.text for c in Population(config, local_engines(answer=by_slot(answers))).variation_api(1, parents)]
    assert "a red cat" not in [text.lower() for text in texts] and len(set(texts)) == 4

    kept = make_config(evolution__candidates=4)
    answers = ["a blue car", "a red cat", "a pink kite", "a green car"]
    texts = [c.text for c in Population(kept, local_engines(answer=by_slot(answers))).variation_api(1, parents)]
    assert sorted(texts) == ["a blue car", "a green car", "a pink kite", "a red cat"]


def test_kept_survivors_stay_as_they_are_and_children_fill_the_quota(make_config, local_engines):
    parents = [survivor(0, "a red cat"), survivor(4, "a blue car"), survivor(7, "a pink kite")]
    candidates = list(Population(make_config(), local_engines()).variation_api(2, parents))
    assert candidates[:3] == [item.candidate for item in parents]
    assert len(candidates) == 12
    children = candidates[3:]
    assert {child.id for child in children} == {f"g02-{i:06d}" for i in range(9)}
    assert Counter(child.parent_id for child in children) == {parent.candidate.id: 3 for parent in parents}
    assert {child.generation for child in children} == {2}
    assert {child.operator for child in children} == {"rephrase", "fill"}
    assert all(child.id.startswith("g02-") for child in children)


def test_replaced_survivors_leave_the_whole_quota_to_their_children(make_config, local_engines):
    parents = [survivor(0, "a red cat"), survivor(4, "a blue car")]
    population = Population(make_config(evolution__keep_survivors=False), local_engines())
    candidates = list(population.variation_api(1, parents))
    assert Counter(child.parent_id for child in candidates) == {"g00-000000": 6, "g00-000004": 6}


def test_children_are_split_by_the_shares_of_their_parents(make_config, local_engines):
    parents = [survivor(0, "a red cat", share=3), survivor(4, "a blue car", share=1)]
    population = Population(make_config(evolution__keep_survivors=False), local_engines())
    candidates = list(population.variation_api(1, parents))
    assert Counter(child.parent_id for child in candidates) == {"g00-000000": 9, "g00-000004": 3}


def test_a_child_has_its_parents_label_and_each_label_keeps_its_quota(make_config, local_engines):
    config = make_config(evolution__labels=LABELS)
    parents = [survivor(0, "a red cat", "pets"), survivor(1, "a pink cat", "pets"), survivor(9, "a blue car", "rides")]
    candidates = list(Population(config, local_engines()).variation_api(1, parents))
    assert Counter(candidate.label for candidate in candidates) == {"pets": 9, "rides": 3}
    label_of = {item.candidate.id: item.candidate.label for item in parents}
    assert all(c.label == label_of[c.parent_id] for c in candidates if c.parent_id)
    assert len({candidate.id for candidate in candidates}) == 12


@pytest.mark.parametrize(("share", "operator"), [(1.0, "rephrase"), (0.0, "fill")])
def test_the_operator_follows_the_configured_share(make_config, local_engines, share, operator):
    config = make_config(evolution__variation={"rephrase_share": share})
    engines = local_engines()
    children = [c for c in Population(config, engines).variation_api(1, [survivor(0, "a red cat")]) if c.parent_id]
    assert {child.operator for child in children} == {operator}
    ending = {"rephrase": "Text: a red cat", "fill": "Blanks: a"}[operator]
    assert all(request.prompt.splitlines()[-2].startswith(ending) for request in engines.requests)


def test_requests_carry_the_configured_sampling_and_room_for_the_text(make_config, local_engines):
    config = make_config(evolution__variation={"temperature": 0.7, "top_p": 0.8})
    engines = local_engines()
    list(Population(config, engines).random_api())
    first, again = engines.requests[:12], engines.requests[12:]
    assert {(r.temperature, r.top_p, r.n, r.stop) for r in first} == {(0.7, 0.8, 1, ("\n",))}
    assert again and all(r.temperature > 0.7 for r in again), "asked again, the writer is to be bolder"
    assert all(request.max_tokens >= 8 for request in engines.requests)


def whole_run(config, engines):
    population = Population(config, engines)
    first = list(population.random_api())
    second = list(population.variation_api(1, [Selected(candidate, 1, 1) for candidate in first[:4]]))
    ahead = list(population.variations(second[:3], 4))
    return first, second, ahead


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_ids_texts_and_seeds_do_not_depend_on_the_batching(make_config, local_engines, batch_size):
    one, other = local_engines(batch_size=3), local_engines(batch_size=batch_size)
    assert whole_run(make_config(), one) == whole_run(make_config(), other)
    assert {r.seed: r for r in one.requests} == {r.seed: r for r in other.requests}
    assert len({request.seed for request in one.requests}) == len(one.requests)


def test_another_run_seed_gives_other_texts(make_config, local_engines):
    assert whole_run(make_config(), local_engines()) != whole_run(make_config(runtime__seed=1), local_engines())


def test_variations_name_the_candidate_that_they_stand_for(make_config, local_engines):
    candidates = [survivor(0, "a red cat").candidate, survivor(1, "a blue car").candidate]
    ahead = list(Population(make_config(), local_engines(answer=numbered())).variations(candidates, 3))
    assert Counter(point.parent_id for point in ahead) == {"g00-000000": 3, "g00-000001": 3}
    assert len({point.id for point in ahead}) == 6
    assert {point.id for point in ahead}.isdisjoint(candidate.id for candidate in candidates)


def test_variations_are_asked_for_while_their_candidates_are_still_coming(make_config, local_engines):
    engines = local_engines(batch_size=2, answer=numbered())
    seen_when_asked: list[int] = []

    def candidates():
        for number in range(4):
            seen_when_asked.append(len(engines.requests))
            yield survivor(number, f"a red cat {number}").candidate

    list(Population(make_config(), engines).variations(candidates(), 2))
    assert seen_when_asked == [0, 2, 4, 6]


def test_the_texts_of_a_population_are_all_different(make_config, local_engines):
    candidates = list(Population(make_config(evolution__candidates=30), local_engines(batch_size=7)).random_api())
    assert len({normal_form(candidate.text) for candidate in candidates}) == 30


def voted(population, counts):
    candidates = Candidates(tuple(sorted(population, key=lambda candidate: candidate.id)))
    ids = tuple(candidate.id for candidate in candidates)
    return candidates, NoisyHistogram(0, ids, np.array([counts[candidate.text] for candidate in candidates]), 1.0, "")


THINGS = ("a red cat", "a blue car", "a pink kite", "a green train", "a red apple", "a blue cat")


def test_prompts_show_the_winners_and_losers_of_the_last_noised_histogram(make_config, local_engines):
    engines = local_engines()
    population = Population(make_config(evolution__variation={"contrast": 2}), engines)
    everyone = [Candidate(f"g00-{i:06d}", text, "all", 0) for i, text in enumerate(THINGS)]
    parents = [Selected(everyone[0], 1, 1)]
    list(population.variation_api(1, parents))
    assert not any("Wanted:" in request.prompt for request in engines.requests), "there was no vote yet"
    engines.requests.clear()
    population.learn(*voted(everyone, dict(zip(THINGS, (5, 9, -3, 0, 2, -8), strict=True))))
    list(population.variation_api(1, parents))
    block = "\nWanted: a blue car\nWanted: a red cat\nNot wanted: a pink kite\nNot wanted: a blue cat\n"
    assert engines.requests and all(block in request.prompt for request in engines.requests)
    for request in engines.requests:
        assert request.prompt.count("Wanted:") == 2 and request.prompt.rstrip().endswith("words):")


def test_a_text_in_another_style_than_the_prompts_is_asked_for_again(make_config, local_engines):
    def answer(request):
        return "a red KITEWORKS® kite" if len(engines.requests) <= 4 else f"a kite of {spelt(request.seed)}"

    engines = local_engines(answer=answer)
    texts = [candidate.text for candidate in Population(make_config(), engines).random_api()]
    assert len(texts) == 12 and len(engines.requests) > 12 and not any("KITEWORKS" in text for text in texts)


def spelt(number):
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def test_after_a_vote_on_themes_more_of_a_parents_own_theme_is_asked_for(make_config, local_engines):
    engines = local_engines()
    population = Population(make_config(evolution__variation={"rephrase_share": 1}), engines)
    everyone = [Candidate(f"g00-{i:06d}", text, "all", 0) for i, text in enumerate(THINGS)]
    counts = voted(everyone, dict.fromkeys(THINGS, 1))
    themes = [
        Theme("g00-theme-000000", "all", ("g00-000000", "g00-000005")),
        Theme("g00-theme-000001", "all", ("g00-000001",)),
    ]
    population.learn(*counts, themes)
    list(population.variation_api(1, [Selected(everyone[0], 1, 1), Selected(everyone[2], 1, 1)]))
    of_kind = [request.prompt for request in engines.requests if "all of one kind" in request.prompt]
    others = [request.prompt for request in engines.requests if "all of one kind" not in request.prompt]
    assert of_kind and all("a blue cat\nText (3 words): a red cat\nText (" in prompt for prompt in of_kind)
    assert others and all("Text: a pink kite\n" in prompt for prompt in others), "it belongs to no theme"
    assert not any("train" in prompt for prompt in of_kind)
    # What was learnt of an earlier generation's themes is gone with the next vote.
    population.learn(*counts)
    engines.requests.clear()
    list(population.variation_api(2, [Selected(everyone[0], 1, 1)]))
    assert engines.requests and not any("all of one kind" in request.prompt for request in engines.requests)


def test_asked_again_for_a_theme_the_writer_is_shown_other_texts_of_it_and_is_no_bolder(make_config, local_engines):
    engines = local_engines(answer=lambda request: "")
    variation = {"rephrase_share": 1, "temperature": 0.7}
    config = make_config(evolution__candidates=2, evolution__variation=variation, prompts__attempts=5)
    population = Population(config, engines)
    everyone = [Candidate(f"g00-{i:06d}", f"a red {'abcdefghijklmnop'[i]}x", "all", 0) for i in range(16)]
    ids = tuple(candidate.id for candidate in everyone)
    population.learn(*voted(everyone, {c.text: 1 for c in everyone}), [Theme("g00-theme-000000", "all", ids)])
    list(population.variation_api(1, [Selected(everyone[0], 1, 1)]))
    shown = [set(request.prompt.splitlines()[2:-2]) for request in engines.requests]
    assert len(shown) == 5 and all(len(texts) == 7 for texts in shown)
    assert len(set().union(*shown)) > 10, "drawn from the whole theme"
    assert {request.temperature for request in engines.requests} == {0.7}


@pytest.mark.parametrize(("size", "kind"), [(1, "Change each"), (2, "all of one kind"), (8, "all of one kind")])
def test_of_a_small_theme_the_writer_gets_bolder_and_of_one_text_a_change_is_asked_for(
    make_config, local_engines, size, kind
):
    engines = local_engines(answer=lambda request: "")
    variation = {"rephrase_share": 1, "temperature": 0.7}
    config = make_config(evolution__candidates=2, evolution__variation=variation, prompts__attempts=3)
    population = Population(config, engines)
    everyone = [Candidate(f"g00-{i:06d}", f"a red {'abcdefghijklmnop'[i]}x", "all", 0) for i in range(size)]
    ids = tuple(candidate.id for candidate in everyone)
    population.learn(*voted(everyone, {c.text: 1 for c in everyone}), [Theme("g00-theme-000000", "all", ids)])
    list(population.variation_api(1, [Selected(everyone[0], 1, 1)]))
    assert [round(request.temperature, 2) for request in engines.requests] == [0.7, 0.85, 1.0]
    assert all(kind in request.prompt for request in engines.requests)


def test_by_default_no_prompt_shows_winners_or_losers(make_config, local_engines):
    engines = local_engines()
    population = Population(make_config(), engines)
    everyone = [Candidate(f"g00-{i:06d}", text, "all", 0) for i, text in enumerate(THINGS)]
    population.learn(*voted(everyone, dict.fromkeys(THINGS, 1)))
    list(population.variation_api(1, [Selected(everyone[0], 1, 1)]))
    assert not any("anted:" in request.prompt for request in engines.requests)


def test_contrast_is_within_a_label_and_no_text_is_both(make_config, local_engines):
    engines = local_engines()
    labels = [{"name": "cat"}, {"name": "car"}]
    population = Population(make_config(evolution__variation={"contrast": 5}, evolution__labels=labels), engines)
    everyone = [Candidate(f"g00-{i:06d}", f"{('cat', 'car')[i % 2]} {i}", ("cat", "car")[i % 2], 0) for i in range(6)]
    population.learn(*voted(everyone, {candidate.text: i for i, candidate in enumerate(everyone)}))
    list(population.variation_api(1, [Selected(everyone[0], 1, 1), Selected(everyone[1], 1, 1)]))
    for request in engines.requests:
        shown = [
            line.split(": ")[1] for line in request.prompt.splitlines() if line.startswith(("Wanted", "Not wanted"))
        ]
        assert len(shown) == len(set(shown)) == 2 and len({text.split()[0] for text in shown}) == 1


def test_varied_texts_are_one_fresh_variation_of_each_voted_text_in_order(make_config, local_engines):
    config = make_config(evolution__generations=3)
    population = Population(config, local_engines())
    parents = [Candidate(f"g02-{i:06d}", text, "all", 2) for i, text in enumerate(THINGS)]
    varied = population.varied(parents)
    assert [candidate.parent_id for candidate in varied] == [parent.id for parent in parents]
    assert all(candidate.generation == 3 and candidate.id.startswith("g03-") for candidate in varied)
    assert all(candidate.text != parent.text for candidate, parent in zip(varied, parents, strict=True))

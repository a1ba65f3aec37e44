"""Results of public units that a later attempt of the run finds again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.observability.timings import Timings
from spti_ray.runtime.scheduling.result_cache import KeptUnits
from spti_ray.types import Completions, WriteRequest

ASKED = ([WriteRequest("a red", 2, 7, 16), WriteRequest("a green", 1, 8, 16)],)
WRITTEN = [Completions(("apple", "pear\u2028"), 5), Completions((), 0)]
JOBS = (["a cat", "a dog"], [2**62 + 1, 3])
DRAWN = [b"one image\0", b"another"]


def kept(tmp_path, context: str = "one") -> KeptUnits:
    return KeptUnits(tmp_path / "units.sqlite", context)


def test_what_was_put_is_found_by_the_next_attempt_and_is_the_same(tmp_path):
    first = kept(tmp_path)
    first.place("writer", ASKED).put(WRITTEN)
    first.place("renderer", JOBS).put(DRAWN)
    again = kept(tmp_path)  # The first was killed: nothing closed it.
    assert again.place("writer", ASKED).get() == WRITTEN
    assert again.place("renderer", JOBS).get() == DRAWN


def test_nothing_is_found_for_other_arguments_another_role_or_another_context(tmp_path):
    units = kept(tmp_path)
    units.place("writer", ASKED).put(WRITTEN)
    units.place("renderer", JOBS).put(DRAWN)
    assert units.place("writer", (ASKED[0][:1],)).get() is None
    assert units.place("renderer", (JOBS[0], [2**62, 3])).get() is None
    assert kept(tmp_path, "two").place("writer", ASKED).get() is None


def test_units_of_earlier_generations_are_dropped_and_those_of_this_one_stay(tmp_path):
    units = kept(tmp_path)
    units.begin(3)
    units.place("writer", ASKED).put(WRITTEN)
    units.begin(3)
    assert kept(tmp_path).place("writer", ASKED).get() == WRITTEN
    units.begin(4)
    assert units.place("writer", ASKED).get() is None


def test_a_file_that_is_damaged_is_made_anew(tmp_path):
    (tmp_path / "units.sqlite").write_bytes(b"no database" * 100)
    units = kept(tmp_path)
    units.place("writer", ASKED).put(WRITTEN)
    assert units.place("writer", ASKED).get() == WRITTEN


def test_the_file_is_the_owners_and_goes_away_with_the_run(tmp_path):
    units = kept(tmp_path)
    assert (tmp_path / "units.sqlite").stat().st_mode & 0o777 == 0o600
    units.remove()
    assert not list(tmp_path.iterdir())


@given(st.lists(st.tuples(st.lists(st.text(), max_size=3), st.integers(0, 99)), min_size=1, max_size=3))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, answers):
    units = kept(tmp_path_factory.mktemp("kept"))
    result = [Completions(tuple(texts), tokens) for texts, tokens in answers]
    units.place("writer", ASKED).put(result)
    assert units.place("writer", ASKED).get() == result
    units.close()


def test_variations_of_other_images_are_other_units(tmp_path):
    units = kept(tmp_path)
    unit = ([b"one png"], ["a cat"], [3], 0.5)
    units.place("renderer", unit).put(DRAWN[1:])
    assert units.place("renderer", ([b"one png"], ["a cat"], [3], 0.5)).get() == DRAWN[1:]
    for other in (([b"another"], *unit[1:]), (*unit[:3], 0.6)):
        assert units.place("renderer", other).get() is None


def test_a_unit_that_mostly_failed_is_asked_for_again_by_the_next_attempt(tmp_path):
    units = kept(tmp_path)
    refused = Completions(("",), problem="answered 400")
    units.place("writer", ASKED).put([refused, refused])
    units.place("renderer", JOBS).put([None, None])
    assert units.place("writer", ASKED).get() is None and units.place("renderer", JOBS).get() is None
    units.place("writer", ASKED).put([Completions(("an apple",)), refused])
    units.place("renderer", JOBS).put([b"one", None])
    assert [answer.texts for answer in units.place("writer", ASKED).get()] == [("an apple",), ("",)]
    assert units.place("renderer", JOBS).get() == [b"one", None]


def test_what_the_writer_cost_is_added_up_over_generations_attempts_and_answers_of_no_use(tmp_path):
    priced = [Completions(("apple", "pear"), 5, 0.25, truncated=(True, False)), Completions(("",), 2, 0.5, "refused")]
    units = kept(tmp_path)
    units.place("writer", ASKED).put(priced)
    units.place("renderer", JOBS).put(DRAWN)
    assert units.place("writer", ASKED).get() == [priced[0], Completions(("",), 2, 0.5)]
    units.begin(1)
    again = kept(tmp_path)
    again.place("writer", ASKED).put([Completions(("",), 30, 1.0, "refused")])
    assert again.place("writer", ASKED).get() is None and again.paid() == (37, 1.75)


@pytest.mark.parametrize(("lost", "tokens", "dollars"), [(False, 37, 1.75), (True, 30, 1.0)])
def test_the_timings_tell_what_the_writer_cost_over_all_attempts_and_the_file_goes(tmp_path, lost, tokens, dollars):
    kept(tmp_path).place("writer", ASKED).put([Completions(("apple",), 7, 0.75)])
    again, timings = kept(tmp_path), Timings()
    again.place("writer", ASKED).put([Completions(("pear",), 30, 1.0)])
    timings.add("writer", 1.0, 1, 30, 1.0)
    if lost:
        again._database.execute("DELETE FROM paid")
    again.settle(timings, tmp_path / "timings.json", {"attempt": 2})
    document = json.loads((tmp_path / "timings.json").read_text())
    assert document["writer_in_all"] == {"output_tokens": tokens, "dollars": dollars} and document["attempt"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["timings.json"]


def test_a_unit_that_an_earlier_build_kept_is_read(tmp_path):
    units = kept(tmp_path)
    place = units.place("writer", ASKED)
    units.write(place._key, b'[[["a kite"], 4]]')
    assert place.get() == [Completions(("a kite",), 4)]

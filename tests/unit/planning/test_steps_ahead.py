"""How many steps a run will have made at its end."""

from __future__ import annotations

from spti_ray.planning.steps_ahead import StepsAhead
from spti_ray.planning.workload import phases


def _written(config) -> list[int]:
    return [phase.items("writer") for phase in phases(config)]


def test_without_texts_asked_again_the_total_is_the_plans(make_config):
    config = make_config(evolution__generations=3)
    planned = sum(phase.steps for phase in phases(config))
    ahead, done = StepsAhead(config), 0
    for number, phase in enumerate(phases(config)[:-1]):
        assert ahead.begin(number, done) == planned
        done += phase.steps


def test_texts_that_are_asked_for_again_count_and_are_foreseen_for_later_generations(make_config):
    config = make_config(evolution__generations=3)
    first, *later = _written(config)
    ahead = StepsAhead(config)
    planned = ahead.begin(0, 0)
    assert ahead.again(first // 2) == planned + first // 2 + sum(round(texts * 1.5) - texts for texts in later)


def test_a_next_generation_counts_from_what_was_made_and_learns_from_all_before(make_config):
    config = make_config(evolution__generations=3)
    all_phases, (first, second, third, release) = phases(config), _written(config)
    ahead = StepsAhead(config)
    ahead.begin(0, 0)
    ahead.again(first)
    done = all_phases[0].steps + first
    attempts = 1 + first / (first + second)
    expected = (
        done
        + all_phases[1].steps
        + sum(round(attempts * phase.items("writer")) + phase.items("renderer") for phase in all_phases[2:])
    )
    assert ahead.begin(1, done) == expected
    assert (third, release) == (second, 0)


def test_a_run_that_goes_on_counts_from_its_first_generation(make_config):
    origin = {"run": "r", "path": "runs/r", "generation": 2}
    config = make_config(evolution__generations=2, origin=origin)
    assert StepsAhead(config).begin(2, 0) == sum(phase.steps for phase in phases(config))

"""Which kind of GPU an actor asks for that a pool grows by."""

from typing import Any

import pytest

from spti_ray.runtime.placement.bundles import ACCELERATOR, Bundle
from spti_ray.runtime.ray import gpu_wishes as module
from spti_ray.runtime.ray.gpu_wishes import Wishes


def renderer(number: int, *kinds: str) -> Bundle:
    return Bundle("renderer", number, 1, 1, kinds, node_labels=(("team", "a"),))


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How many GPUs are free of each kind; `now` is the time."""
    free: dict[str, float] = {"now": 0.0}

    def nodes() -> list[dict[str, Any]]:
        return [
            {"Alive": True, "Labels": {"team": "a", ACCELERATOR: kind}, "Resources": {"CPU": 8.0, "GPU": gpus}}
            for kind, gpus in free.items()
            if kind != "now"
        ]

    monkeypatch.setattr(module, "free_nodes", nodes)
    monkeypatch.setattr(module.time, "monotonic", lambda: free["now"])
    return free


def wanting(kinds: str) -> dict[str, str]:
    return {"team": "a", ACCELERATOR: f"in({kinds})"}


def test_the_best_kind_of_which_one_is_free_is_asked_for_and_any_should_it_be_taken(free: dict[str, float]):
    free |= {"L40S": 4.0, "H100": 1.0}
    asked = Wishes().options(renderer(1, "B200", "H100", "L40S"))
    assert asked["label_selector"] == wanting("H100")
    assert asked["fallback_strategy"] == [{"label_selector": wanting("B200,H100,L40S")}]


def test_where_no_kind_is_free_all_are_asked_for_alike(free: dict[str, float]):
    """Else the autoscaler would ask for the first one for ever: tests/ray/test_autoscaler.py."""
    free["H100"] = 0.0
    assert Wishes().options(renderer(1, "H100", "L40S")) == {"label_selector": wanting("H100,L40S")}


def test_two_actors_that_are_asked_for_at_a_time_do_not_both_count_on_the_same_gpu(free: dict[str, float]):
    free["H100"] = 1.0
    wishes = Wishes()
    selectors = [wishes.options(renderer(number, "H100", "L40S"))["label_selector"] for number in range(2)]
    assert selectors == [wanting("H100"), wanting("H100,L40S")]
    free["now"] = 60.0  # whoever asked before has what it found, and it does not count as free
    assert wishes.options(renderer(2, "H100", "L40S"))["label_selector"] == wanting("H100")


def test_an_actor_without_a_choice_asks_for_its_kind_and_labels_and_nothing_else(free: dict[str, float]):
    free["H100"] = 1.0
    assert Wishes().options(renderer(1, "H100")) == {"label_selector": wanting("H100")}
    assert Wishes().options(Bundle("renderer", 1, 1, 1)) == {}

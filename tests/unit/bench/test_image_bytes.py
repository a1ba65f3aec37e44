"""What images cost the driver, with little work: what is measured is a run's own path. Speeds are not judged."""

from pathlib import Path

import spti_ray
from spti_ray.bench import image_bytes as module
from spti_ray.bench.driver_memory import peak
from spti_ray.bench.image_bytes import AtOnce, image_bytes, is_figure, thread_ms
from spti_ray.bench.other_checkout import compared_with
from spti_ray.public.render_store import RenderStore
from spti_ray.runtime.scheduling.result_log import ResultLog

ACTORS = {"renderer": [1], "image_embedder": [2]}


def test_units_that_are_kept_are_written_whole_and_others_are_not(monkeypatch):
    kept, stored = [], []
    put, setitem = ResultLog.put, RenderStore.__setitem__
    monkeypatch.setattr(ResultLog, "put", lambda self, *given: kept.append(given[2]) or put(self, *given))
    monkeypatch.setattr(RenderStore, "__setitem__", lambda self, *given: stored.append(given) or setitem(self, *given))
    assert thread_ms(3000, True, AtOnce(3000), ACTORS, units=4) > 0
    assert len(kept) == 5 and all(sum(map(len, result[1:])) == 16 * 3000 for result in kept)
    assert len(stored) == 5 * 16
    kept.clear()
    assert thread_ms(3000, False, AtOnce(3000), ACTORS, units=4) > 0 and kept == []


def test_another_checkout_is_measured_by_its_own_code(monkeypatch):
    """Here the same code, which the other process imports from the folder that it was given."""
    monkeypatch.setattr(module, "SIZES", {"400KB": 400_000})
    here = image_bytes(on_ray=False, units=4)
    checkout = Path(spti_ray.__file__).parents[1]
    found = compared_with(checkout, module.__file__, ("4", "--without-ray"), here, is_figure)
    assert found["ratios"].keys() == {"at_once_400KB_kept_ms", "at_once_400KB_not_kept_ms"}
    assert set(here) < set(found["there"]) and all(ratio > 0 for ratio in found["ratios"].values())


def test_the_drivers_memory_is_that_of_a_run_in_which_images_wait():
    found = peak(4)
    assert found["engines"] == 4 and found["driver_mb"] > 10 and found["waiting_gb"] > 0

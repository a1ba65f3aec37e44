"""What images cost the driver, with little work: what is measured is a run's own path. Speeds are not judged."""

import subprocess
import sys
from pathlib import Path

import pytest

import spti_ray
from spti_ray.bench import image_bytes as module
from spti_ray.bench.child import MeasurementFailed
from spti_ray.bench.driver_memory import memory, peak
from spti_ray.bench.image_bytes import AtOnce, image_bytes, is_figure, thread_ms
from spti_ray.bench.other_checkout import compared_with
from spti_ray.errors import one_line
from spti_ray.public.render_store import RenderStore
from spti_ray.runtime.scheduling import call_length
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


def test_a_process_that_fails_to_measure_says_why_in_one_line(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("import sys\nsys.exit(sys.argv[1] if sys.argv[1:] else 7)\n")
    with pytest.raises(MeasurementFailed) as caught:
        compared_with(tmp_path, str(program), ("first\nno room left\n",), {}, is_figure)
    assert one_line(caught.value) == "the process that measures failed: no room left"
    with pytest.raises(MeasurementFailed, match=r"said nothing \(exit code 7\)$"):
        compared_with(tmp_path, str(program), (), {}, is_figure)
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(MeasurementFailed):
        memory((1, 2))


def test_the_drivers_memory_is_measured_too_where_several_batches_go_in_a_call(monkeypatch):
    """As with ten thousand engines."""
    monkeypatch.setattr(call_length, "CALLS_PER_S", 0.1)
    assert peak(4)["waiting_gb"] > 0


def test_the_drivers_memory_is_that_of_a_run_in_which_images_wait():
    found = peak(4)
    assert found["engines"] == 4 and found["driver_mb"] > 10 and found["waiting_gb"] > 0


def test_the_peak_of_a_program_is_its_own_and_not_of_the_one_that_started_it():
    held = bytearray(400 << 20)
    program = "from spti_ray.bench.driver_memory import peak_kib; print(peak_kib())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 10_000 < int(done.stdout) < len(held) // 1024

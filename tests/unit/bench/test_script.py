"""What a small run is compared with: both are watched alike, and do the same work."""

import subprocess

import numpy as np
import pytest

from spti_ray.bench import script
from spti_ray.bench.plain_script import _selected
from spti_ray.config.loading import parse_config
from spti_ray.planning.workload import work_of


def test_time_cpu_and_memory_of_children_count(monkeypatch):
    monkeypatch.setattr(script, "_LOOK_S", 0.02)
    child = (
        "import time; data = b'x' * 200_000_000; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    )
    found = script.measured(["-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"])
    assert found["wall_s"] > 0.5 and 0.4 < found["cpu_s"] < 20 and 190 < found["peak_memory_mb"] < 1000


def test_what_fails_is_not_measured():
    with pytest.raises(subprocess.CalledProcessError):
        script.measured(["-c", "raise SystemExit(3)"])


def test_the_run_is_the_demo_made_small(tmp_path):
    config = parse_config(script.small_config(tmp_path))
    assert (config.evolution.generations, config.evolution.candidates) == (2, 64)
    assert config.release.images == 20 and work_of(config)[1] == 64 + 22
    assert str(tmp_path) in str(config.ledger.path)


def test_the_script_keeps_what_most_records_are_nearest_to():
    rows = np.eye(10, dtype=np.float32)
    assert set(_selected(np.repeat(rows[[3, 7]], 500, axis=0), rows, 0.2)) == {3, 7}

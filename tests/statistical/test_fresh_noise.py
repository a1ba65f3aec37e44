"""Audit 5 of the privacy contract: two processes with every generator seeded alike draw different noise.

"Different" is tested as statistically independent: 4,096 pairs of draws correlate by less than 6 standard errors, which
fails for independent draws with probability 2e-9. The same check catches seeded noise.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

NUM_DRAWS = 4_096

# All that Python can seed is seeded alike, unasked-for seeds of NumPy too: only the operating system's entropy is left.
SEED_ALL = """
import os, random, sys
import numpy as np
random.seed(0); np.random.seed(0)
unseeded = np.random.default_rng
np.random.default_rng = lambda seed=None: unseeded(0)
random.SystemRandom = lambda: random.Random(0)
"""

DRAW = """
import json
from spti_ray.dp.mechanism import OpenDPNoise, SeededNoise
def draw(noise):
    return json.dumps(noise.add_noise(np.zeros({draws}, dtype=np.int64), 50.0).tolist())
"""

GATE = """
from pathlib import Path
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.gate import Gate
from spti_ray.dp.ledger import Ledger
from spti_ray.votes import Votes
def measure(noise, folder):
    plan, ids = calibrate(1.0, 1e-5, 1, 1), [f"c{{i:05d}}" for i in range({draws})]
    ledger = Ledger(Path(folder) / "ledger", "toys")
    ledger.register(None, 1e-5)
    gate = Gate(ledger, plan, "run", Path(folder) / "generations", noise)
    gate.open()
    reservation = gate.reserve(0, "a" * 64, ids)
    votes = Votes(reservation.query, 0, np.zeros({draws}, dtype=np.int64), 0)
    return json.dumps(gate.measure(reservation, [votes], 1).counts_K.tolist())
"""

# A generator in the process's memory would be copied by a fork, as it is into worker processes.
FORK = """
draw({noise})
for _ in range(2):
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, draw({noise}).encode()); os.close(write); os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        print(pipe.read())
    os.wait()
"""


def run(script: str, arguments: tuple[str, ...] = ()) -> list[list[int]]:
    """The draws that each line of the script's output holds."""
    code = (SEED_ALL + DRAW + GATE).format(draws=NUM_DRAWS) + script
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": ":".join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def related(first: list[int], second: list[int]) -> bool:
    """Whether two vectors of noise are equal, or more alike than independent draws ever are."""
    assert len(first) == len(second) == NUM_DRAWS
    assert np.std(first) > 1 and np.std(second) > 1
    return float(abs(np.corrcoef(first, second)[0, 1])) > 6 / NUM_DRAWS**0.5


@pytest.mark.parametrize(("noise", "expected"), [("OpenDPNoise()", False), ("SeededNoise(0)", True)])
def test_two_processes_with_every_generator_seeded_alike_draw_independent_noise(noise, expected):
    (first,), (second,) = run(f"print(draw({noise}))"), run(f"print(draw({noise}))")
    assert related(first, second) is expected


def test_two_gates_on_equal_votes_with_every_generator_seeded_alike_release_independent_noise(tmp_path):
    script = "print(measure(OpenDPNoise(), sys.argv[1]))"
    (first,), (second,) = (run(script, (str(tmp_path / name),)) for name in ("one", "two"))
    assert not related(first, second)


@pytest.mark.parametrize(("noise", "expected"), [("OpenDPNoise()", False), ("SeededNoise(0)", True)])
def test_forked_processes_draw_independent_noise(noise, expected):
    first, second = run(FORK.format(noise=noise))
    assert related(first, second) is expected


def test_the_check_sees_noise_that_is_shared_only_in_part():
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 50, NUM_DRAWS), rng.normal(0, 50, (2, NUM_DRAWS))
    assert related((shared + 2 * own[0]).tolist(), (shared + 2 * own[1]).tolist())
    assert not related(own[0].tolist(), own[1].tolist())

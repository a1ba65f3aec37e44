import pickle
import subprocess
import sys

import numpy as np
import pytest

from spti_ray.dp.mechanism import OpenDPNoise, SeededNoise
from spti_ray.votes import Votes

# All that can be seeded is seeded alike; only the operating system's entropy is left to make a difference.
_SEEDED_DRAW = """
import os, random
import numpy as np
from spti_ray.dp.mechanism import OpenDPNoise
random.seed(0); np.random.seed(0)
print(OpenDPNoise().add_noise(np.zeros(32, dtype=np.int64), 50.0).tolist())
"""


def test_noise_is_added_and_the_clean_counts_are_left_alone():
    counts_K = np.arange(64, dtype=np.int64)
    noisy_K = OpenDPNoise().add_noise(counts_K, 20.0)
    assert noisy_K.dtype == np.int64 and noisy_K.shape == (64,)
    assert (noisy_K != counts_K).sum() > 32
    assert counts_K.tolist() == list(range(64))


def test_two_processes_with_every_generator_seeded_alike_draw_different_noise():
    command = [sys.executable, "-c", _SEEDED_DRAW]
    environment = {"PYTHONHASHSEED": "0", "PYTHONPATH": ":".join(sys.path)}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    draws = [process.communicate(timeout=60)[0] for process in processes]
    assert draws[0].startswith("[") and draws[1].startswith("[")
    assert draws[0] != draws[1]


def test_seeded_noise_repeats_and_says_that_it_is_simulated():
    zeros_K = np.zeros(16, dtype=np.int64)
    first, second = SeededNoise(7), SeededNoise(7)
    assert first.add_noise(zeros_K, 3.0).tolist() == second.add_noise(zeros_K, 3.0).tolist()
    assert not first.private and "SIMULATED" in first.name
    assert OpenDPNoise().private and "opendp" in OpenDPNoise().name


@pytest.mark.parametrize("noise", [OpenDPNoise(), SeededNoise(0)])
@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_scale_that_is_no_noise_or_would_saturate_is_refused(noise: OpenDPNoise, sigma: float):
    with pytest.raises(ValueError, match="sigma"):
        noise.add_noise(np.zeros(2, dtype=np.int64), sigma)


def test_counts_that_would_saturate_are_refused_without_showing_them():
    for value in (2**63 - 1, -(2**63)):
        with pytest.raises(ValueError, match="too large") as refusal:
            OpenDPNoise().add_noise(np.array([value]), 1.0)
        assert str(value) not in str(refusal.value)
    with pytest.raises(ValueError, match="int64"):
        OpenDPNoise().add_noise(np.zeros(2), 1.0)  # pyright: ignore[reportArgumentType]


def test_tiny_and_large_scales_are_sampled():
    zeros_K = np.zeros(8, dtype=np.int64)
    assert OpenDPNoise().add_noise(np.arange(8), 1e-3).tolist() == list(range(8))  # the noise is 0 but for 1e-200000
    assert np.abs(OpenDPNoise().add_noise(zeros_K, 1e9)).max() > 1e6


def test_votes_neither_print_nor_pickle():
    votes = Votes(0, "c", np.array([424242]), 424242)
    assert "424242" not in repr(votes) + str(votes) + f"{votes}"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(votes)

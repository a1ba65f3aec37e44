"""A share of a GPU is a share of its memory, on a real one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from spti_ray.config import EngineConfig  # noqa: E402
from spti_ray.models.gpu_share import hold_torch_to_share  # noqa: E402
from spti_ray.private.device import TorchProcessor, on_gpu  # noqa: E402
from spti_ray.private.views import Views, quantise  # noqa: E402
from spti_ray.private.voting import cast_votes  # noqa: E402
from spti_ray.types import Candidate, Candidates, ScoredCandidates  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.models]


@pytest.fixture(autouse=True)
def all_of_it_again(cuda):
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_process_can_not_take_more_than_its_share():
    hold_torch_to_share(EngineConfig(kind="clip-vision", model="m", num_gpus=0.25))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.empty(int(0.2 * total), dtype=torch.uint8, device="cuda")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        torch.empty(int(0.3 * total), dtype=torch.uint8, device="cuda")


@pytest.mark.parametrize("memory_bytes", [2**28, 2**31])
def test_votes_take_no_more_memory_than_is_planned(memory_bytes):
    """Vectors of 400 MB: they do not fit into the smaller of the two, where most are read again."""
    draw = np.random.default_rng(0)
    views = Views(
        {"image": quantise(draw.normal(size=(200_000, 1024)).astype(np.float32))},
        np.zeros(200_000, np.int32),
        ("all",),
    )
    names = tuple(Candidate(f"g00-{i:05d}", "t", "all", 0) for i in range(2000))
    found = ScoredCandidates(
        Candidates(names), {"image": draw.normal(size=(2000, 1024)).astype(np.float32)}, {"image": 1.0}
    )
    on_device = TorchProcessor("cuda", memory_bytes)
    torch.cuda.reset_peak_memory_stats()
    assert cast_votes(views, found, 1, on_device).sum() == cast_votes(views, found, 2, on_device).sum() / 2 == 200_000
    assert torch.cuda.max_memory_allocated() < memory_bytes


def test_a_shard_plans_with_its_share_of_the_gpu():
    total = torch.cuda.get_device_properties(0).total_memory
    assert on_gpu(0.25)._memory_bytes <= 0.25 * total

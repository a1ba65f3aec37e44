"""What of a shard's views is on a device, and which devices get a vote; that the votes are NumPy's: tests/gpu."""

import numpy as np
import pytest

from spti_ray.private import device as module
from spti_ray.private.device import TorchProcessor, on_gpu
from spti_ray.private.safe_errors import ShardError
from spti_ray.private.views import Views
from spti_ray.private.voting import cast_votes
from tests.unit.private.test_private_voting import random_rows, scored, views

pytestmark = pytest.mark.models

WIDTH = 8
ROW_BYTES = 2 * WIDTH


class File:
    """Rows that say how often they are read."""

    def __init__(self, rows):
        self._rows, self.shape, self.read = rows, rows.shape, []

    def __getitem__(self, numbers):
        self.read.append(sorted(set((numbers // module._CHUNK_ROWS).tolist())))
        return self._rows[numbers]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_ROWS", 4)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)


def from_file(count=20, groups=None):
    """Views in a file of 4 rows a chunk."""
    private = views(random_rows(count, WIDTH), groups=groups)
    file = File(private.vectors_PE["image"])
    found = Views({"image": file}, private.labels_P, private.label_names, private.groups_P)
    assert found.usable_P["image"].all()
    file.read.clear()
    return private, found, file


def room_for(chunks, candidates=3):
    """Memory with room for so many chunks, whatever a block takes."""
    rest = chunks * 4 * ROW_BYTES + 2 * candidates * WIDTH * 8
    return -(-rest * module._BLOCK_SHARE // (module._BLOCK_SHARE - 2))


def test_vectors_that_fit_are_read_once():
    private, stored, file = from_file()
    found, on_device = scored(random_rows(3, WIDTH, seed=1)), TorchProcessor("cpu", 2**24)
    for _ in range(3):
        np.testing.assert_array_equal(cast_votes(stored, found, 1, on_device), cast_votes(private, found, 1))
    assert file.read == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize("held", [0, 2])
def test_what_does_not_fit_is_read_each_time_and_the_first_of_it_is_kept(held):
    private, stored, file = from_file()
    found, on_device = scored(random_rows(3, WIDTH, seed=1)), TorchProcessor("cpu", room_for(held + 1))
    for _ in range(2):
        np.testing.assert_array_equal(cast_votes(stored, found, 1, on_device), cast_votes(private, found, 1))
        assert sorted(on_device._held["image"]._chunks) == list(range(held))
    rest = [[number] for number in range(held, 5)]
    assert file.read == [[number] for number in range(held)] + rest + rest


def test_more_candidates_than_before_take_the_place_of_vectors():
    _, stored, file = from_file()
    on_device = TorchProcessor("cpu", room_for(6))
    cast_votes(stored, scored(random_rows(3, WIDTH, seed=1)), 1, on_device)
    file.read.clear()
    cast_votes(stored, scored(random_rows(4, WIDTH, seed=1)), 1, on_device)
    assert file.read and file.read[-1] == [4] and len(file.read) < 5


def test_records_of_groups_that_are_far_apart_read_each_chunk_once(monkeypatch):
    """Where none of them is kept, and all groups are one block."""
    monkeypatch.setattr(module, "_BLOCK_SHARE", 2)
    private, stored, file = from_file(groups=np.arange(20) % 5)
    found, on_device = scored(random_rows(3, WIDTH, seed=1)), TorchProcessor("cpu", 2**20)
    np.testing.assert_array_equal(cast_votes(stored, found, 1, on_device), cast_votes(private, found, 1))
    assert file.read == [[0], [1], [2], [3], [4]]


def test_other_views_are_never_those_that_are_held():
    on_device, found = TorchProcessor("cpu", 2**24), scored(random_rows(3, WIDTH, seed=1))
    for seed in range(3):
        other = views(random_rows(20, WIDTH, seed=seed))
        np.testing.assert_array_equal(cast_votes(other, found, 1, on_device), cast_votes(other, found, 1))


def test_a_group_beyond_float64_is_still_summed_exactly(monkeypatch):
    from spti_ray.private import products

    private = views(random_rows(300), groups=np.arange(300) % 3)
    found = scored(random_rows(40, seed=1))
    expected = cast_votes(private, found, 2)
    monkeypatch.setattr(products, "EXACT_FLOAT", 1)  # forces the integer product
    monkeypatch.setattr(module.torch, "matmul", None)
    np.testing.assert_array_equal(cast_votes(private, found, 2, TorchProcessor("cpu", 2**24)), expected)


def test_a_device_whose_float64_is_of_fewer_bits_gets_no_vote(monkeypatch):
    honest = module.torch.from_numpy
    monkeypatch.setattr(module.torch, "from_numpy", lambda array: honest(array).to(module.torch.float32))
    with pytest.raises(ShardError, match="are not exact: let shards vote on the CPU"):
        TorchProcessor("cpu", 2**24)


def test_a_share_of_a_gpu_that_is_not_there_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    with pytest.raises(ShardError, match=r"^runtime\.shard\.num_gpus is 0\.25, but torch sees no GPU where this shard"):
        on_gpu(0.25)


def test_a_shard_plans_with_its_share_of_the_memory_and_with_no_more_than_is_free(monkeypatch):
    planned = []
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module, "TorchProcessor", lambda device, memory: planned.append((device, memory)))
    for free in (1000, 100):
        monkeypatch.setattr(module.torch.cuda, "mem_get_info", lambda free=free: (free, 1000))
        on_gpu(0.25)
    assert planned == [("cuda", 225), ("cuda", 90)]

"""What a shard compares records with: NumPy, or the GPU of which its settings give it a share."""

import pytest
import torch

from spti_ray.private import device
from spti_ray.private.products import NUMPY
from spti_ray.private.safe_errors import ShardError
from spti_ray.runtime.hosting.shard import ShardHost
from spti_ray.runtime.ray import shard_actor
from tests.unit.conftest import config_with


def host(folder, num_gpus, kind=ShardHost, engines=None):
    config = config_with(runtime__shard={"num_gpus": num_gpus})
    return kind(config, 0, {"image_embedder": None} if engines is None else engines, 1, str(folder), "key")


def test_a_shard_with_a_share_of_a_gpu_votes_there_within_that_share(tmp_path, monkeypatch):
    shares = []
    monkeypatch.setattr(device, "on_gpu", lambda share: shares.append(share) or NUMPY)
    for num_gpus in (0.25, 0.0):
        host(tmp_path, num_gpus)
    assert shares == [0.25]


def test_a_shard_that_is_given_a_gpu_that_is_not_there_can_not_be_started(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ShardError, match=r"^runtime\.shard\.num_gpus is 0\.5, but torch sees no GPU"):
        host(tmp_path, 0.5)


def test_a_shard_s_process_is_held_to_its_share_of_the_gpu_s_memory(tmp_path, monkeypatch):
    shares = []
    monkeypatch.setattr(shard_actor, "suppress_output_permanently", lambda: None)
    monkeypatch.setattr(device, "on_gpu", lambda share: NUMPY)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    actor = shard_actor.ShardActor.__ray_metadata__.modified_class
    for num_gpus in (0.25, 1.0, 0.0):
        host(tmp_path, num_gpus, actor, engines={})
    assert shares == [0.25]

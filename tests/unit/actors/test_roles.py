"""Which actor hosts which engine."""

import pytest

from spti_ray.actors.engine_actor import PRIVATE_ROLES, PrivateEngineActor
from spti_ray.actors.roles import actor_class
from spti_ray.config import ROLES
from spti_ray.models.factory import FAKE


def _methods(role) -> set[str]:
    """Methods of the class that Ray makes the actor of."""
    return set(dir(actor_class(role).__ray_metadata__.modified_class))


def test_only_engines_that_serve_shards_take_private_input():
    assert {role for role in ROLES if "run_private" in _methods(role)} == set(PRIVATE_ROLES)
    assert set(PRIVATE_ROLES) == {"image_embedder", "captioner", "text_embedder"}


@pytest.mark.parametrize("role", ROLES)
def test_every_engine_serves_the_public_side(role):
    assert {"run", "ready"} <= _methods(role)


@pytest.mark.parametrize("role", ["writer", "renderer"])
def test_an_actor_for_private_input_hosts_no_writer_or_renderer(role):
    with pytest.raises(ValueError, match="must not see private input"):
        PrivateEngineActor.__ray_metadata__.modified_class(role, FAKE.of(role))

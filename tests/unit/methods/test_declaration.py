"""What methods declare, and what no declaration can claim."""

from dataclasses import replace

import pytest

from spti_ray.config.method_traits import (
    has_shards,
    is_charged,
    roles_needed,
    roles_shown_private,
    stays_inside,
    trains,
    uses_private_data,
)
from spti_ray.methods import METHODS, Method, PrivateData, Protection
from spti_ray.methods.captions import CAPTIONS
from spti_ray.methods.random_texts import RANDOM
from spti_ray.methods.spti import SPTI
from tests.unit.conftest import config_with

OPEN = {"epsilon": 2.0, "delta": 1e-5, "allow_not_private": True}
EACH = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def configured(method: Method, **changes):
    return config_with(method=method.name, privacy=OPEN, **changes)


@pytest.mark.parametrize("used", PrivateData)
@pytest.mark.parametrize("protection", Protection)
def test_a_method_can_not_claim_a_protection_that_it_does_not_have(used, protection):
    allowed = {(m.private_data, m.protection) for m in METHODS.values()}
    said = {"roles_of_space": SPTI.roles_of_space if used is PrivateData.VOTES else {}}
    said["unprotected"] = "images of everybody" if protection is Protection.NONE else ""
    if (used, protection) in allowed:
        assert replace(SPTI, private_data=used, protection=protection, **said)
    else:
        with pytest.raises(ValueError, match=f"{used.name} is .*, not {protection.name}"):
            replace(SPTI, private_data=used, protection=protection, **said)


def test_a_method_that_nothing_protects_says_what_it_makes():
    with pytest.raises(ValueError, match="unprotected"):
        replace(CAPTIONS, unprotected="")
    with pytest.raises(ValueError, match="unprotected"):
        replace(SPTI, unprotected="images of everybody")


def test_a_method_with_votes_names_the_engines_of_its_spaces_and_no_other_does():
    with pytest.raises(ValueError, match="roles_of_space"):
        replace(SPTI, roles_of_space={})
    with pytest.raises(ValueError, match="roles_of_space"):
        replace(RANDOM, roles_of_space=SPTI.roles_of_space)


@EACH
def test_only_what_the_gate_protects_is_charged_and_only_that_or_what_reads_nothing_is_released(method: Method):
    config = configured(method)
    assert is_charged(config) == (method.protection is Protection.GATE)
    assert stays_inside(config) == (method.protection not in (Protection.GATE, Protection.NOT_NEEDED))
    assert uses_private_data(config) == (method.protection is not Protection.NOT_NEEDED)
    assert not (trains(config) and has_shards(config))


@EACH
def test_only_engines_that_start_can_be_shown_private_images_and_the_writer_never_is(method: Method):
    for voting in ("image", "caption", "joint"):
        if "text" in method.roles_of_space or voting == "image":
            config = configured(method, evolution__voting=voting)
            shown = roles_shown_private(config)
            assert set(shown) <= set(roles_needed(config)) - {"writer"}
            assert bool(shown) == uses_private_data(config)


@EACH
def test_a_rerendering_reads_nothing_and_is_charged_nothing(method: Method):
    if method.protection in (Protection.GATE, Protection.NOT_NEEDED):
        config = configured(method, origin={"run": "r", "path": "runs/r", "rerender": True})
        assert not uses_private_data(config) and not is_charged(config) and not stays_inside(config)
        assert roles_needed(config) == ("renderer",) and roles_shown_private(config) == ()

"""Figures for people are never smaller than what they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spti_ray.dp.certificate import certificate
from spti_ray.figures import at_least, percent_at_least, release_epsilon, rounded_up
from spti_ray.provenance.statement import statement_of
from spti_ray.public.datasheet import Datasheet
from tests.unit.dp.test_joint_guarantee import PLAN, ledger_of


@given(st.floats(1e-12, 1e6), st.integers(1, 8))
def test_rounding_is_upwards_and_by_less_than_one_in_the_last_digit(value: float, digits: int):
    said = at_least(value, digits)
    assert float(said) >= value
    assert float(said) <= value * (1 + 10.0 ** (1 - digits)) * (1 + 1e-12)


@given(st.floats(0, 1))
def test_shares_are_rounded_upwards_too(share: float):
    assert float(percent_at_least(share)) / 100 >= share
    assert float(percent_at_least(share)) <= 100 * share + 0.1


@pytest.mark.parametrize(
    ("value", "said"),
    [(1.0, "1"), (0.1, "0.1"), (2.0000003, "2.00001"), (6.458, "6.458"), (9.9999999, "10"), (1e-5, "1e-05")],
)
def test_what_fits_is_said_as_it_is(value, said):
    assert at_least(value) == said


def test_the_figure_of_a_release_has_the_same_digits_wherever_people_read_it(tmp_path, make_config):
    ledger, config = ledger_of(tmp_path, ("a", PLAN, ""), ("b", PLAN, "a")), make_config()
    document = certificate(ledger.entries(), "b")
    assert document is not None
    said = at_least(document["epsilon"])
    assert float(said) > document["epsilon"] and len(said) == 7, "six digits, rounded up; the file has them all"
    assert document["statement"].startswith(f"This release is ({said}, 1e-05)-differentially private")
    assert f"epsilon, {said} at delta 1e-05" in document["origin"]["in_words"]
    assert f"together they cost epsilon {said} at delta 1e-05" in document["tuning"]["in_words"]
    assert statement_of(config, "b", document).epsilon == said
    assert f"epsilon {said} at delta 1e-05" in Datasheet(tmp_path, config, [], {}, document).markdown()


def test_only_figures_of_a_guarantee_are_rounded_upwards():
    assert rounded_up(1.00000049, "achieved_epsilon") == 1.00001
    assert rounded_up(1.00000049, "sigma") == 1.00000049 and rounded_up("x") == "x" and rounded_up(None) is None


def test_the_releases_figure_is_found_in_every_format():
    assert release_epsilon({"epsilon": 4.0}) == 4.0
    assert release_epsilon({"epsilon": 4.0, "origin": {"epsilon_together": 6.458}}) == 6.458
    assert (
        release_epsilon({"epsilon": 6.458, "origin": {"epsilon_together": 6.458}, "parts": [{"epsilon": 4.0}]}) == 6.458
    )

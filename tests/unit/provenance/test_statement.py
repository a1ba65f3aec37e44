"""What images say: of each kind of run what is true of it, and never less epsilon than the certificate."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spti_ray import __version__
from spti_ray.provenance.statement import figures_of, statement_of

INF = float("inf")
CERTIFICATE = {"epsilon": 1.23456781, "delta": 1e-5, "unit": "group (patient_id)"}


def test_a_protected_release_says_what_its_certificate_says(make_config):
    said = statement_of(make_config(), "run-1", CERTIFICATE, "ab" * 32)
    assert said.fields() == {
        "method": "spti",
        "protection": "differential privacy",
        "epsilon": "1.23457",
        "delta": "1e-05",
        "unit": "group (patient_id)",
        "run": "run-1",
        "ledger_entry": "ab" * 32,
        "software": f"spti-ray {__version__}",
    }


@pytest.mark.parametrize(
    ("changes", "protection", "epsilon"),
    [
        ({"method": "random"}, "none needed: no private data used", ""),
        ({}, "NOT PRIVATE: the noise was simulated", ""),
        ({"method": "pe-image"}, "NOT PRIVATE: the noise was simulated", ""),
        (
            {"privacy__epsilon": INF, "privacy__allow_not_private": True},
            "NOT PRIVATE, internal: images by spti without noise (epsilon inf)",
            "infinity",
        ),
        (
            {"method": "captions", "privacy__allow_not_private": True},
            "NOT PRIVATE, internal: renders of captions of the private images",
            "",
        ),
        ({"method": "dp-finetune"}, "NOT CERTIFIED, internal: dp-finetune at epsilon 2, uncertified", "2"),
    ],
)
def test_without_a_certificate_it_says_why(make_config, changes, protection, epsilon):
    said = statement_of(make_config(**changes), "run-1", None, simulated="writer, renderer")
    assert (said.method, said.protection, said.epsilon) == (changes.get("method", "spti"), protection, epsilon)
    assert said.simulated == "writer, renderer" and said.ledger_entry == ""
    assert (said.unit == "record") == ("NOT CERTIFIED" in protection)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(1e-14, 0.1))
def test_no_figure_is_rounded_towards_more_privacy(epsilon, delta):
    said_epsilon, said_delta, _ = figures_of({"epsilon": epsilon, "delta": delta, "unit": "record"})
    assert epsilon <= float(said_epsilon) <= epsilon * (1 + 2e-5)
    assert delta <= float(said_delta) <= delta * (1 + 2e-5)


def test_of_a_run_that_goes_on_it_is_the_epsilon_of_all_runs():
    older = {"epsilon": 1.0, "origin": {"epsilon_together": 3.0}, "delta": 1e-5, "unit": "record"}
    assert figures_of(older)[0] == "3"

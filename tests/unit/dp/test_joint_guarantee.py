"""What holds for a run that goes on from another one's release: the figure of both, and nothing without the first."""

import json

import pytest

from spti_ray.dp.accounting import pld_epsilon, zcdp_epsilon
from spti_ray.dp.calibration import calibrate
from spti_ray.dp.certificate import certificate
from spti_ray.dp.certificate_2 import certificate_2
from spti_ray.dp.chain import LedgerError
from spti_ray.dp.exact import exact_delta, exact_epsilon
from spti_ray.dp.joint_guarantee import joint_guarantee, planned_joint_guarantee
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.lifetime import lifetime_advantage
from spti_ray.figures import release_epsilon, release_replace_one_epsilon

PLAN = calibrate(1.0, 1e-5, 1, 2)
OTHER = calibrate(0.5, 1e-5, 1, 3, 1)


def ledger_of(folder, *runs, private=True):
    """A ledger in which each of `runs` (name, plan, origin) has made all its queries."""
    ledger = Ledger(folder, "ds")
    ledger.register(20.0, 1e-5)
    for name, plan, origin in runs:
        lease = ledger.open_run(name, plan, "c", "n", private or name != "a", origin=origin)
        for generation in range(plan.generations):
            lease.commit(lease.reserve(generation, "ab", 4, "v"), "ef")
    return ledger


def test_runs_of_one_sigma_are_composed_exactly_and_the_attacker_sees_both(tmp_path):
    ledger = ledger_of(tmp_path, ("a", PLAN, ""), ("b", PLAN, "a"))
    document = certificate(ledger.entries(), "b")
    expected = pld_epsilon([(PLAN.sigma, 4)], 1e-5)
    assert document["epsilon"] == document["achieved_epsilon"] == expected > 1.0, "of all that the release depends on"
    assert document["replace_one_epsilon"] == pld_epsilon([(PLAN.sigma, 8)], 1e-5)
    assert [(part["run"], part["epsilon"]) for part in document["parts"]] == [("a", 1.0), ("b", 1.0)]
    assert document["parts"][1]["achieved_epsilon"] == PLAN.achieved_epsilon <= 1.0
    mechanism = document["mechanism"]
    assert mechanism["epsilon_of_charged_queries"] == expected
    assert mechanism["replace_one_epsilon_of_charged_queries"] == document["replace_one_epsilon"]
    assert document["origin"]["epsilon_together"] == expected
    assert document["origin"]["runs"] == ["a"] and document["origin"]["delta_together"] == 1e-5
    assert document["dataset"]["lifetime_epsilon_spent"] == expected
    assert document["attacker"]["advantage"] > certificate(ledger.entries(), "a")["attacker"]["advantage"]
    # What is said in words is never less than what holds.
    said = float(document["statement"].split("(")[1].split(",")[0])
    assert expected <= said < expected * 1.001 and document["statement"].startswith("This release is (")


def test_runs_of_several_sigmas_are_composed_as_chosen_adaptively_over_all_that_came_before(tmp_path):
    ledger = ledger_of(tmp_path, ("a", PLAN, ""), ("b", OTHER, "a"), ("c", OTHER, "b"))
    found = joint_guarantee(ledger.entries(), "c", OTHER)
    assert found is not None and found.runs == ("b", "a")
    # Planned queries, spares included, whether or not they were made.
    rho = 2 / (2 * PLAN.sigma**2) + 8 / (2 * OTHER.sigma**2)
    assert found.epsilon == pytest.approx(zcdp_epsilon(rho, 1e-5))
    assert found.replace_one_epsilon > found.epsilon
    assert found.advantage >= lifetime_advantage([(PLAN.sigma, 2)])


def test_engines_outside_the_cluster_that_the_earlier_run_used_are_told_too(tmp_path):
    ledger = ledger_of(tmp_path, ("a", PLAN, ""))
    seer = "captioner seer at https://seer.example/v1"
    ledger.open_run("a", PLAN, "c", "n", True, outside=seer)
    ledger.open_run("b", PLAN, "c", "n", True, origin="a")
    assert certificate(ledger.entries(), "b")["engines_outside"] == [seer]


def test_a_run_from_prompts_is_certified_as_before(tmp_path):
    ledger = ledger_of(tmp_path, ("a", PLAN, ""), ("b", PLAN, "a"))
    document = certificate(ledger.entries(), "a")
    assert "origin" not in document and joint_guarantee(ledger.entries(), "a", PLAN) is None
    assert document["statement"].startswith("This release is (1, 1e-05)-differentially private")


def test_a_certificate_of_format_2_had_the_parts_figure_on_top(tmp_path):
    ledger = ledger_of(tmp_path, ("a", PLAN, ""), ("b", PLAN, "a"))
    old, new = certificate_2(ledger.entries(), "b"), certificate(ledger.entries(), "b")
    assert old["epsilon"] == 1.0 and "parts" not in old and "accountant" not in old
    # Whoever shows a certificate shows the release's figure, whatever the format.
    for document in (old, new):
        assert release_epsilon(document) == pytest.approx(new["epsilon"])
        assert release_replace_one_epsilon(document) == pytest.approx(new["replace_one_epsilon"])


def test_a_run_that_is_not_in_the_ledger_yet_is_told_what_its_release_would_have(tmp_path):
    ledger = ledger_of(tmp_path, ("a", PLAN, ""))
    found = planned_joint_guarantee(ledger.entries(), "a", PLAN)
    assert found is not None and found.epsilon == pld_epsilon([(PLAN.sigma, 4)], 1e-5) and found.runs == ("a",)
    assert planned_joint_guarantee(ledger.entries(), "nobody", PLAN) is None


@pytest.mark.parametrize("delta", [1e-9, 1e-12])
def test_at_a_small_delta_both_together_are_never_below_their_exact_figure(tmp_path, delta):
    plan = calibrate(1.0, delta, 3, 4)
    ledger = Ledger(tmp_path, "ds")
    ledger.register(None, delta)
    for name, origin in (("a", ""), ("b", "a")):
        ledger.open_run(name, plan, "c", "n", True, origin=origin)
    found = joint_guarantee(ledger.entries(), "b", plan)
    assert found is not None
    assert found.epsilon >= exact_epsilon(plan.sigma, 24, delta)
    assert found.replace_one_epsilon >= exact_epsilon(plan.sigma, 48, delta)
    assert found.advantage >= exact_delta(plan.sigma, 24, 0.0)


def test_nothing_holds_for_what_goes_on_from_simulated_noise(tmp_path):
    ledger = ledger_of(tmp_path, ("a", PLAN, ""), ("b", PLAN, "a"), private=False)
    assert certificate(ledger.entries(), "b") is None


def test_a_run_goes_on_only_from_one_that_the_same_ledger_knows(tmp_path):
    ledger = ledger_of(tmp_path, ("a", PLAN, ""))
    for origin in ("nobody", "b"):
        with pytest.raises(LedgerError, match="does not know run"):
            ledger.open_run("b", PLAN, "c", "n", True, origin=origin)
    ledger.open_run("b", PLAN, "c", "n", True, origin="a")
    for origin in ("", "b"):
        with pytest.raises(LedgerError, match="was started from 'a'"):
            ledger.open_run("b", PLAN, "c", "n", True, origin=origin)
    assert ledger.open_run("b", PLAN, "c", "n", True, origin="a").attempt == 2


def test_lines_of_earlier_versions_say_no_origin_and_are_read(tmp_path):
    from spti_ray.dp.entries import GENESIS, Opened, _canonical, decode, encode

    event = Opened("r", 1, "host", 7, 3.5, 1, 2, 0, 1.0, 1e-5, "cc", "noise", True)
    body = json.loads(encode(0, GENESIS, "t", event))
    del body["origin"], body["hash"]
    import hashlib

    line = _canonical(body | {"hash": hashlib.sha256(_canonical(body)).hexdigest()})
    assert decode(line).event == event

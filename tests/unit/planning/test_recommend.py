import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError
from spti_ray.planning.plan import WORKABLE_SIGNAL, plan_summary
from spti_ray.planning.recommend import (
    AIM,
    recommend,
    recommendation_lines,
    selection_under_noise,
)

STICKERS = str(Path(__file__).parents[3] / "jobs" / "stickers.yaml")
LABELS = [{"name": "cat", "share": 4}, {"name": "car", "share": 1}]


def of(config, records=5000, name="recommended", **more):
    return next(option for option in recommend(config, records, **more).options if option.name == name)


@pytest.mark.parametrize("records", [300, 1_000, 20_000, 10_000_000])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0])
def test_what_is_recommended_has_a_workable_signal_and_is_what_the_plan_then_says(make_config, records, epsilon):
    best = of(make_config(privacy__epsilon=epsilon), records)
    assert 50 <= best.candidates <= 14_000 and best.signal >= AIM > WORKABLE_SIGNAL
    taken = make_config(
        privacy__epsilon=epsilon,
        privacy__votes_per_record=best.votes_per_record,
        evolution__candidates=best.candidates,
        evolution__generations=best.generations,
    )
    summary = plan_summary(taken, records)
    assert summary["sigma"] == best.sigma
    assert summary["votes_per_candidate_over_sigma"] == pytest.approx(best.signal)
    assert (summary["texts_to_write"], summary["candidate_renders"]) == (best.texts, best.renders)
    configured = of(taken, records, "as configured")
    assert configured.signal == best.signal and configured.gain_kept == best.gain_kept


def test_more_records_allow_more_candidates_and_few_records_vote_more_often(make_config):
    few, some, many = (of(make_config(privacy__epsilon=1.0), records) for records in (250, 3_000, 30_000))
    assert few.candidates < some.candidates < many.candidates
    assert few.votes_per_record > some.votes_per_record == many.votes_per_record == 1


def test_records_too_few_for_any_schedule_are_told_how_many_it_takes(make_config):
    found = recommend(make_config(privacy__epsilon=0.5), 20)
    assert found.best.signal < AIM and "about 180 records" in (found.warning or "")
    assert any(line.startswith("WARNING") for line in recommendation_lines(found))
    assert recommend(make_config(privacy__epsilon=0.5), 180).warning is None


def test_every_label_gets_enough_candidates(make_config):
    config = make_config(evolution__labels=LABELS)
    candidates = of(config, 700).candidates
    assert min(config.evolution.quota(candidates).values()) >= 50


def test_the_alternatives_trade_noise_for_steps_and_signal_for_variety(make_config):
    config = make_config(privacy__epsilon=1.0)
    best, fewer, more = (
        of(config, name=name) for name in ("recommended", "half the generations", "twice the candidates")
    )
    assert fewer.sigma < best.sigma and fewer.texts < best.texts and fewer.gain_kept > best.gain_kept
    assert more.signal == pytest.approx(best.signal / 2, rel=0.01) and more.texts > best.texts
    assert more.popular_survives < best.popular_survives


def test_an_alternative_that_can_not_be_certified_is_left_out(make_config):
    names = [
        option.name
        for option in recommend(make_config(privacy__epsilon=0.001, privacy__delta=1e-12), 5_000_000).options
    ]
    assert "recommended" in names and "twice the generations" not in names


def test_an_epsilon_that_can_not_be_planned_is_one_line(make_config):
    with pytest.raises(ConfigError, match=r"privacy\.epsilon: no noise can be certified"):
        recommend(make_config(privacy__epsilon=0.0001), 5000)


def test_no_selection_gains_nothing_and_loses_nobody():
    assert selection_under_noise(1.0, 1.0) == (0.0, 1.0)


def test_rates_give_the_hours_of_each_engine(make_config):
    option = of(make_config(), rates={"writer": 10.0, "renderer": 0.5})
    assert option.engine_hours == {
        "writer": option.texts / 10 / 3600,
        "renderer": (option.renders + 6) / 0.5 / 3600,
    }
    assert of(make_config()).engine_hours is None


def test_the_command_prints_the_table_or_one_json_object():
    text = CliRunner().invoke(app, ["plan", STICKERS, "--private-records", "1000", "--recommend"])
    assert text.exit_code == 0 and "\nrecommended " in text.output and "\nTo take it " in text.output
    result = CliRunner().invoke(app, ["plan", STICKERS, "--private-records", "1000", "--recommend", "--json"])
    found = json.loads(result.output)["recommendation"]
    assert found["private_records"] == 1000 and found["options"][0]["name"] == "recommended"


def test_a_recommendation_asks_for_a_public_number_of_records():
    result = CliRunner().invoke(app, ["plan", STICKERS, "--recommend"])
    assert result.exit_code == 2 and "publicly stated" in result.output

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config.loading import ConfigError
from spti_ray.planning import recommend as planning
from spti_ray.planning.plan import WORKABLE_SIGNAL, plan_summary
from spti_ray.planning.recommend import AIM, recommend
from spti_ray.planning.recommendation_text import recommendation_lines
from spti_ray.planning.vote_model import selection_under_noise, shares_under_noise

STICKERS = str(Path(__file__).parents[3] / "jobs" / "stickers.yaml")
LABELS = [{"name": "cat", "share": 4}, {"name": "car", "share": 1}]


def of(config, records=5000, name="recommended", **more):
    return next(option for option in recommend(config, records, **more).options if option.name == name)


@pytest.mark.parametrize("records", [300, 1_000, 20_000, 10_000_000])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0])
def test_what_is_recommended_has_a_workable_signal_and_is_what_the_plan_then_says(make_config, records, epsilon):
    best = of(make_config(privacy__epsilon=epsilon), records)
    assert 50 <= best.candidates <= 14_000 and best.signal >= AIM > WORKABLE_SIGNAL
    assert (
        len(best.themes) == best.generations == 4
        and set(best.themes[1:]) == {0}
        and 10 <= best.themes[0] <= best.candidates // 2
    )
    taken = make_config(
        privacy__epsilon=epsilon,
        privacy__votes_per_record=best.votes_per_record,
        evolution__candidates=best.candidates,
        evolution__themes=best.themes[:1],
        evolution__generations=best.generations,
        evolution__survivors=0.65,
    )
    summary = plan_summary(taken, records)
    assert summary["sigma"] == best.sigma and not any("drown" in hint for hint in summary["hints"])
    assert summary["votes_per_candidate_over_sigma"] == pytest.approx(best.signal, abs=0.01)
    assert (summary["texts_to_write"], summary["candidate_renders"]) == (best.texts, best.renders)
    configured = of(taken, records, "as configured")
    assert configured.signal == best.signal and configured.gain_kept == best.gain_kept


def test_more_records_allow_more_themes_and_few_records_vote_more_often(make_config):
    few, some, many = (of(make_config(privacy__epsilon=1.0), records) for records in (50, 3_000, 30_000))
    assert few.themes < some.themes < many.themes and few.candidates < some.candidates < many.candidates
    assert few.votes_per_record > some.votes_per_record == many.votes_per_record == 1


def test_records_too_few_for_any_schedule_are_told_how_many_it_takes(make_config):
    found = recommend(make_config(privacy__epsilon=0.5), 20)
    assert found.best.signal < AIM and "about 85 records" in (found.warning or "")
    assert any(line.startswith("WARNING") for line in recommendation_lines(found))
    assert recommend(make_config(privacy__epsilon=0.5), 85).warning is None


def test_every_label_gets_enough_themes_and_candidates(make_config):
    best = of(make_config(evolution__labels=LABELS), 700)
    config = make_config(evolution__labels=LABELS, evolution__candidates=best.candidates)
    assert min(config.evolution.quota(best.candidates).values()) >= 50
    assert min(config.evolution.quota(best.themes[0]).values()) >= 10


def test_the_alternatives_trade_noise_for_steps_and_signal_for_finer_questions(make_config):
    config = make_config(privacy__epsilon=1.0)
    best, fewer, single, more = (
        of(config, name=name) for name in ("recommended", "half the themes", "no themes", "twice the generations")
    )
    assert fewer.signal == pytest.approx(2 * best.signal) and fewer.gain_kept > best.gain_kept
    assert single.signal < best.signal / 4 and single.gain_kept < best.gain_kept and set(single.themes) == {0}
    assert more.sigma > best.sigma and more.texts > best.texts and more.gain_kept < best.gain_kept


@pytest.mark.parametrize("labels", [[], LABELS, ["a", "b", "c", "d"]])
@pytest.mark.parametrize("records", [20, 800, 10_000_000])
def test_what_is_called_half_or_twice_is_that_whatever_the_labels_ask_for(make_config, records, labels):
    found = {option.name: option for option in recommend(make_config(evolution__labels=labels), records).options}
    best = found["recommended"]
    themes, candidates = best.themes[0], best.candidates
    wanted = {
        "half the candidates": (themes, candidates // 2),
        "half the themes": (themes // 2, candidates),
        "twice the themes": (2 * themes, candidates),
    }
    for name, (level, many) in wanted.items():
        if level == many:  # as many themes as candidates: no settings are like that
            assert name not in found and candidates == 14_000
            continue
        option = found[name]
        assert (option.themes[0], option.candidates) == (level, many)
        taken = make_config(
            evolution__labels=labels,
            evolution__candidates=many,
            evolution__themes=[level],
            evolution__generations=4,
            privacy__votes_per_record=option.votes_per_record,
        )
        assert plan_summary(taken, records)["votes_per_candidate_over_sigma"] == pytest.approx(option.signal)


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["evolution.labels=[{name: smileys}, {name: objects}]", "data.label_column=label"],
        ["evolution.labels=[smileys, objects]", "data.label_column=label", "evolution.label_shares=voted"],
        ["evolution.vocabulary=color", "evolution.themes=[11]"],
    ],
    ids=str,
)
def test_what_is_printed_can_be_taken_as_it_is(settings):
    command = ["plan", STICKERS, "--private-records", "1000", "--recommend"]
    command += [f"--set={setting}" for setting in settings]
    planned = CliRunner().invoke(app, command)
    arguments = " ".join(planned.output.split("To take it", 1)[1].split()).split()
    taken = CliRunner().invoke(app, [*command, "--json", *arguments])
    found = json.loads(taken.output)["recommendation"]["options"]
    assert found[0] | {"name": ""} == found[1] | {"name": ""}


def test_what_is_configured_is_judged_by_its_first_vote(make_config):
    mixed = of(make_config(evolution__themes=[4], evolution__generations=2), 1000, "as configured")
    assert mixed.themes == (4, 0) and mixed.signal == pytest.approx(1000 / (4 * mixed.sigma))
    (row,) = [
        line
        for line in recommendation_lines(recommend(make_config(evolution__themes=[4], evolution__generations=2), 1000))
        if line.startswith("as configured")
    ]
    assert row.split()[3] == "4"


def test_where_nobody_votes_nothing_is_recommended(make_config):
    with pytest.raises(ConfigError, match="--recommend: by method random nobody votes"):
        recommend(make_config(method="random"), 1000)


def test_an_alternative_that_can_not_be_certified_is_left_out(make_config, monkeypatch):
    sigma = planning._sigma
    monkeypatch.setattr(planning, "_sigma", lambda config, t, k: sigma(config, t, k) if t <= 4 else None)
    names = [option.name for option in recommend(make_config(evolution__generations=3), 5_000).options]
    assert "recommended" in names and "twice the generations" not in names


def test_an_epsilon_that_can_not_be_planned_is_one_line(make_config):
    with pytest.raises(ConfigError, match=r"privacy\.epsilon: no noise can be certified"):
        recommend(make_config(privacy__epsilon=0.0001), 5000)


def test_no_selection_gains_nothing_and_loses_nobody():
    assert selection_under_noise(1.0, 1.0) == (0.0, 1.0)


def test_shares_without_noise_keep_all_and_in_noise_nothing():
    assert shares_under_noise(1000.0) == (pytest.approx(1.0, abs=0.01), pytest.approx(1.0))
    assert shares_under_noise(0.001)[0] == pytest.approx(0.0, abs=0.01)


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

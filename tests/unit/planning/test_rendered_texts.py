"""What of its texts a run's renderer would read, as planning says it."""

import pytest

from spti_ray.config.loading import ConfigError
from spti_ray.planning.checks import check_new
from spti_ray.planning.plan import plan_summary
from spti_ray.planning.plan_text import plan_lines
from spti_ray.planning.rendered_texts import rendered_texts

LONG = "a red kite with a long tail " * 4


@pytest.fixture
def planned(make_config):
    """With the bundled renderer, whose encoder keeps 24 tokens."""

    def plan(**changes):
        return make_config(runtime__engines="embedded", **changes)

    return plan


def test_planning_says_the_window_and_the_share_of_texts_over_it(planned):
    config = planned(prompts__max_words=75, prompts__examples=["a red kite", LONG.strip()])
    found = rendered_texts(config)
    assert (found["tokens"], found["is_counted"], found["is_cut"]) == (24, True, True)
    assert found["examples_over"] == 1 and 0.5 < found["lengths_over"] < 0.9 and 12 <= found["words"] <= 22
    summary = plan_summary(config)
    (line,) = [line for line in plan_lines(summary) if line.startswith("window")]
    assert "the renderer reads 24 tokens of a text" in line and "are cut before they are voted on" in line
    assert [hint for hint in summary["hints"] if hint.startswith("prompts.max_words: texts may have 75 words")]
    kept = rendered_texts(planned(prompts__max_tokens_rendered="none"))
    assert kept["tokens"] == 24 and not kept["is_cut"]


def test_texts_that_fit_are_not_pointed_out(planned):
    config = planned(prompts__max_words=12, prompts__examples=["a red kite"])
    assert rendered_texts(config)["lengths_over"] == 0
    assert not [hint for hint in plan_summary(config)["hints"] if "max_words" in hint]


def test_of_a_model_that_is_not_here_it_is_an_estimate_that_says_so(make_config):
    config = make_config(runtime__engines={"renderer": "preset:sdxl-turbo"}, prompts__max_words=75)
    found = rendered_texts(config)
    assert found["tokens"] == 77 and not found["is_counted"] and 45 <= found["words"] <= 60


def test_a_limit_that_nobody_can_count_is_refused(make_config):
    with pytest.raises(ConfigError, match=r"^prompts\.max_tokens_rendered: is 40, but nobody here can count"):
        check_new(make_config(prompts__max_tokens_rendered=40))
    assert rendered_texts(make_config()) is None

"""What a run says at its beginning and at its end."""

import json

from spti_ray.actors.telling import goodbye, hello
from spti_ray.public.written import Count, Written
from spti_ray.rundir import RunDir
from spti_ray.timings import Timings


def test_a_warning_about_the_data_is_said_at_the_beginning(tmp_path, make_config):
    run = RunDir(tmp_path, "run-1", make_config())
    plain = list(hello(make_config(), run, None, "ledger", 1))
    assert list(hello(make_config(), run, None, "ledger", 1, "each value is a record")) == [
        *plain,
        "warning: each value is a record",
    ]


def test_the_share_of_texts_that_nobody_wrote_is_told_at_the_end(make_config, tmp_path):
    config = make_config(method="random")
    run = RunDir(tmp_path, "r", config)
    written = Written({"0": Count(12, 3)})
    lines = list(goodbye(config, run, None, Timings(), written))
    assert [line for line in lines if "fallback" in line] == list(written.lines()) != []


def test_what_the_writer_cost_in_earlier_attempts_is_told_too(make_config, tmp_path):
    config = make_config(method="random")
    timings = Timings(tokens_in_all=380, dollars_in_all=3.8)
    timings.add("writer", 1.0, 5, tokens=10, dollars=0.1)
    lines = list(goodbye(config, RunDir(tmp_path, "r", config), None, timings, Written()))
    assert "writer, over all attempts: 380 output tokens, $3.8" in lines
    timings.write(tmp_path / "timings.json", {})
    assert json.loads((tmp_path / "timings.json").read_text())["writer_in_all"] == {
        "output_tokens": 380,
        "dollars": 3.8,
    }

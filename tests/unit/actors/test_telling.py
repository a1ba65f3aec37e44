"""What a run says at its beginning."""

from spti_ray.actors.telling import hello
from spti_ray.rundir import RunDir


def test_a_warning_about_the_data_is_said_at_the_beginning(tmp_path, make_config):
    run = RunDir(tmp_path, "run-1", make_config())
    plain = list(hello(make_config(), run, None, "ledger", 1))
    assert list(hello(make_config(), run, None, "ledger", 1, "each value is a record")) == [
        *plain,
        "warning: each value is a record",
    ]

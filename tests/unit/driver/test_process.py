"""The driver's log: one JSON object a line, for its owner only."""

import json
import logging
import stat

import pytest

from spti_ray.driver.process import logged_to
from spti_ray.errors import RayUnavailable


def test_each_line_of_the_log_is_one_json_object(tmp_path):
    path = tmp_path / "driver.log"
    logger = logging.getLogger("spti_ray.somewhere")
    with logged_to(path, "r1"):
        logger.warning("unit %d is\nskipped: é", 5, extra={"role": "writer", "unit": 5})
        try:
            raise ValueError("why")
        except ValueError:
            logger.exception("it failed")
        logging.getLogger("other").warning("not ours")
    logger.warning("too late")
    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "logger": "spti_ray.somewhere",
        "run": "r1",
        "message": "unit 5 is\nskipped: é",
        "role": "writer",
        "unit": 5,
    }
    assert second["level"] == "ERROR" and "ValueError: why" in second["exception"] and "role" not in second
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def ended_by(error, path):
    with pytest.raises(type(error)), logged_to(path, "r1"):
        raise error
    return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["message"]


def test_what_ends_a_run_is_in_its_log_by_its_line_or_by_where_it_came_from(tmp_path):
    path = tmp_path / "driver.log"
    assert ended_by(RayUnavailable("Ray could not be started"), path) == "ended: Ray could not be started"
    told = ended_by(Exception("the words of somebody else: secret"), path)
    assert told.startswith("ended: unexpected Exception; ") and "test_process.py:" in told and "ended_by" in told
    assert "secret" not in path.read_text(encoding="utf-8")

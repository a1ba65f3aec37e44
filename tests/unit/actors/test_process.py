"""The driver's log: one JSON object a line, for its owner only."""

import json
import logging
import stat

from spti_ray.actors.process import logged_to


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

import os
import secrets
from pathlib import Path

import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Else Ray would write a token into the HOME of whoever runs the tests.
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
# So that what Ray tells of a task can be looked at soon after it.
os.environ.setdefault("RAY_task_events_report_interval_ms", "100")
os.environ.setdefault("RAY_metrics_report_interval_ms", "1000")


@pytest.fixture(scope="session")
def ray_cluster():
    """One local Ray for all tests of this folder."""
    import logging

    import ray

    ray.init(
        address="local",
        num_cpus=4,
        num_gpus=1,  # in name only: for the tests of who gets it
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=200_000_000,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def head(tmp_path_factory):
    """The head of a cluster that asks for a token, for commands that join it or submit jobs."""
    from tests.ray.head import Cluster

    started = Cluster(tmp_path_factory.mktemp("head"))
    try:
        for _ in range(100):
            if "does not answer" not in started.submit("/nowhere/run", token="0" * 32).stderr:
                break
        yield started
    finally:
        started.stop()


@pytest.hookimpl(trylast=True)  # after the fixtures that use it
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ray ends with this folder's last test: those that the same process runs next must not find themselves joined."""
    import ray

    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        ray.shutdown()

"""What tests of all kinds share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.s3 import S3Server
from tests.taint.faults import plant_in

# The same examples in every run, so that a failure is the change's own; HYPOTHESIS_PROFILE=search looks for new ones.
# How long an example takes depends on what else the machine does: no deadlines.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server, and this process's environment set to it."""
    server = S3Server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.stop()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of taint tests read which faults are planted: none to begin with."""
    home = tmp_path_factory.mktemp("home")
    plant_in(home, {})
    return home

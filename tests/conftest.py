"""What tests of all kinds share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3 import S3Server
from tests.taint.faults import plant_in


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

"""What tests of all kinds share."""

from collections.abc import Iterator

import pytest

from tests.s3 import S3Server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server, and this process's environment set to it."""
    server = S3Server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.stop()

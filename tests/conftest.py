"""What tests of all kinds share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from spti_ray.models.engine_process import WAITING_THREADS_SLEEP
from tests import distribution
from tests.clouds import azure_server, gcs_server
from tests.s3 import S3Server
from tests.taint.faults import plant_in

if TYPE_CHECKING:
    from spti_ray.audit.suite import AuditReport

# The models of tests are tiny, and two processes run them: threads would mostly wait for each other, and where they
# spin meanwhile, engines took four times the CPU. Engines in processes of their own have other settings.
for name, value in (WAITING_THREADS_SLEEP | {"OMP_NUM_THREADS": "1"}).items():
    os.environ.setdefault(name, value)

# The same examples in every run, so that a failure is the change's own; HYPOTHESIS_PROFILE=search looks for new ones.
# How long an example takes depends on what else the machine does: no deadlines.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


MARKED = {
    "tests/e2e/": "e2e",
    "tests/packaging/": "e2e",
    "tests/ray/": "ray",
    "tests/test_examples.py": "ray",
    "tests/unit/finetuning/": "models",
    "tests/unit/runtime/local/": "e2e",
}
"""Folders and files whose tests all have a marker."""


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: distribution.place_of(item.nodeid))
    for item in items:
        for folder, marker in MARKED.items():
            if item.nodeid.startswith(folder):
                item.add_marker(marker)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> distribution.ByFile:
    return distribution.ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def user_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where ledgers of configurations without a file go: nothing here writes into the home of whoever runs it."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def report() -> AuditReport:
    """One run of all audits, which takes half a minute."""
    from spti_ray.audit.suite import run_audits

    return run_audits()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server, and this process's environment set to it."""
    server = S3Server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.stop()


@pytest.fixture(scope="session")
def gcs() -> Iterator[str]:
    """The URL of a folder in an emulator of Google's storage."""
    with gcs_server() as url:
        yield url


@pytest.fixture(scope="session")
def azure() -> Iterator[str]:
    """The URL of a folder in an emulator of Azure's storage, and this process's environment set to it."""
    if shutil.which("azurite-blob") is None:
        pytest.skip("needs azurite-blob (npm install azurite) on the PATH")
    with azure_server() as (url, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of taint tests read which faults are planted: none to begin with."""
    home = tmp_path_factory.mktemp("home")
    plant_in(home, {})
    return home

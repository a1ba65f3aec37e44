"""Small runs on local processes; tests of one module share their engines."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from spti_ray.config import Config
from spti_ray.runtime.local.engines import Engines, kept_engines
from tests.local_runs import plant_images
from tests.unit.conftest import config_with


@pytest.fixture(scope="module")
def kept() -> Iterator[Engines]:
    with kept_engines() as engines:
        yield engines


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_images(tmp_path_factory.mktemp("private") / "images")


@pytest.fixture(scope="session")
def configured(images: Path) -> Callable[..., Config]:
    """A configuration for a run with its ledger in a folder, with changes as `config_with` takes them."""

    def make(folder: Path, **changes: Any) -> Config:
        common: dict[str, Any] = {
            "data__path": str(images),
            "runtime__executor": "local",
            "ledger__path": str(folder / "ledger"),
            "privacy__spare_slots": 1,
        }
        return config_with(**common | changes)

    return make


@pytest.fixture
def local(configured: Callable[..., Config], tmp_path: Path) -> Callable[..., Config]:
    """`configured`, in a folder of this test."""
    return partial(configured, tmp_path)

"""A finished run on local processes with the fake engines, with certified noise, that `spti measure` measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from spti_ray.cli import app
from spti_ray.config import Config
from spti_ray.dp.entries import Entry
from spti_ray.dp.ledger import Ledger
from spti_ray.dp.mechanism import OpenDPNoise
from spti_ray.runtime.local.engines import kept_engines
from tests.local_runs import run
from tests.unit.conftest import config_with

LABELS = ("red", "blue")
NUM_EACH = 20
CANARY = "patient-4711"


@dataclass(frozen=True)
class Measured:
    """`folder` holds the run and its ledger's dataset has a lifetime epsilon of 60 at the run's delta."""

    config: Config
    folder: Path
    tasks: Path

    def task(self, name: str = "t", **settings: Any) -> Path:
        file = self.tasks / f"{name}.yaml"
        file.write_text(yaml.safe_dump(settings))
        return file

    def entries(self) -> list[Entry]:
        return Ledger(self.config.ledger.location, "toys").entries()

    def charges(self) -> int:
        return sum(entry.kind == "RESERVED" for entry in self.entries())


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    root = tmp_path_factory.mktemp("measured")
    rng = np.random.default_rng(3)
    for label, colour in zip(LABELS, ((200, 20, 20), (20, 20, 200)), strict=True):
        (root / "images" / label).mkdir(parents=True)
        for number in range(NUM_EACH):
            pixels = np.array(colour) + rng.integers(-20, 20, 3)
            Image.fromarray(np.full((16, 16, 3), pixels, np.uint8)).save(root / f"images/{label}/{CANARY}-{number}.png")
    (root / "images" / "red" / f"{CANARY}-none.png").write_bytes(b"no image")
    config = config_with(
        data__path=str(root / "images"),
        dataset__lifetime_epsilon=60.0,
        evolution__labels=[{"name": name} for name in LABELS],
        runtime__executor="local",
        ledger__path=str(root / "ledger"),
    )
    (root / "tasks").mkdir()
    with kept_engines():
        run(config, root / "run", noise=OpenDPNoise())
        yield Measured(config, root / "run", root / "tasks")


@pytest.fixture
def spti() -> Callable[..., tuple[int, str]]:
    """Calls the command line; returns the exit code and all that it printed."""

    def call(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return call


@pytest.fixture
def quiet() -> Console:
    return Console(quiet=True)

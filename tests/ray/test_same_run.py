"""The same run on Ray and on local processes: one driver, gate and streams, and so the same release."""

from pathlib import Path

import pytest

from tests.local_runs import made_by, plant_images, run
from tests.unit.conftest import config_with


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_on_ray_makes_what_it_makes_on_local_processes(tmp_path: Path):
    plant_images(tmp_path / "images")
    made = []
    for executor in ("ray", "local"):
        config = config_with(
            data__path=str(tmp_path / "images"),
            evolution__voting="joint",
            runtime__executor=executor,
            ledger__path=str(tmp_path / executor / "ledger"),
        )
        run(config, tmp_path / executor / "run")
        made.append(made_by(tmp_path / executor / "run"))
    assert made[0] == made[1]

"""A command that is told to stop ends soon, whatever its engines do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from spti_ray.config import EngineConfig
from spti_ray.config.identity import resolved
from spti_ray.models import fakes
from spti_ray.models.factory import FAKE
from spti_ray.models.output_tail import OutputTail
from spti_ray.runtime.local.engine import EngineHere
from tests import warm

HERE = "tests.unit.runtime.local.test_leaving"
LONG_S = 300.0
CAN_LOAD = threading.Event()


class Loading(fakes.FakeRenderer):
    """Loads on threads of its own, as libraries do, for longer than anybody waits."""

    def __init__(self, config):
        with ThreadPoolExecutor(1) as threads:
            threads.submit(time.sleep, LONG_S).result()
        super().__init__(config)


class Hanging(fakes.FakeRenderer):
    def render(self, *arguments):
        time.sleep(LONG_S)


class WithAChild(fakes.FakeRenderer):
    """Has a process of its own, and loads on."""

    def __init__(self, config):
        import multiprocessing

        multiprocessing.get_context("spawn").Process(target=time.sleep, args=(LONG_S,), daemon=True).start()
        time.sleep(LONG_S)
        super().__init__(config)


class Waiting(fakes.FakeRenderer):
    def __init__(self, config):
        with OutputTail():
            CAN_LOAD.wait(60)
        super().__init__(config)


@pytest.mark.parametrize(
    ("kind", "number", "stage"),
    [
        ("Loading", signal.SIGTERM, "loading models"),
        ("WithAChild", signal.SIGINT, "loading models"),
        ("Hanging", signal.SIGINT, "1/2: candidates"),
    ],
)
def test_a_local_run_that_is_told_to_stop_ends_soon_and_says_how_to_go_on(local, tmp_path, kind, number, stage):
    engines = {role: engine for role, engine in FAKE.model_dump().items()}
    engines["renderer"] = {"kind": f"{HERE}:{kind}", "model": "SIMULATED"}
    (tmp_path / "my.yaml").write_text(json.dumps(resolved(local(runtime__engines=engines))))
    printed = tmp_path / "printed.txt"
    with printed.open("wb") as out:
        run = warm.start(
            "spti_ray.cli", "run", "my.yaml", "--out", "run", cwd=tmp_path, stdout=out.fileno(), stderr=out.fileno()
        )
    deadline = time.monotonic() + 120
    while stage not in printed.read_text():
        assert run.poll() is None and time.monotonic() < deadline, printed.read_text()
        time.sleep(0.05)
    assert run.poll() is None, printed.read_text()
    process = psutil.Process(run.pid)
    while kind == "WithAChild" and len(process.children()) < 2:  # the private process is the other
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = process.children(recursive=True)
    run.send_signal(number)
    assert run.wait(LONG_S / 5) == 1
    assert printed.read_text().splitlines()[-1] == "spti: interrupted; run the same command again to go on"
    assert "Traceback" not in printed.read_text()
    assert psutil.wait_procs(started, timeout=20)[1] == []


def test_an_engine_that_still_loads_is_let_go_without_waiting_and_the_outputs_are_given_back(capfd):
    CAN_LOAD.clear()
    engine = EngineHere("renderer", EngineConfig(kind=f"{HERE}:Waiting", model="SIMULATED"))
    deadline = time.monotonic() + 60
    while not OutputTail._entered:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    before = time.monotonic()
    engine.close()
    assert time.monotonic() - before < 5
    os.write(2, b"said\n")
    assert capfd.readouterr().err == "said\n", "not by a thread that may come too late"
    CAN_LOAD.set()
    engine._thread.join(60)
    assert not engine._thread.is_alive(), "it loads to the end, and ends"


def test_a_command_without_an_engine_at_work_ends_as_any_python_does(tmp_path):
    code = "import atexit, sys; atexit.register(print, 'last'); sys.argv = ['spti', '--version']"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; from spti_ray.cli import main; main()"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "last"

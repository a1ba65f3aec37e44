"""The driver of a run on a real cluster: what becomes of the run when its process, or who watches it, goes."""

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter

import pytest

from spti_ray.dp.ledger import Ledger
from tests.ray.waiting import until

SEEDS = [int(seed) for seed in os.environ.get("SPTI_CHAOS_SEEDS", "").split()]
GENERATIONS = 3


def _engine(kind, delay_s):
    return f"{{kind: fake-{kind}, model: SIMULATED, batch_size: 4, num_cpus: 0.1, options: {{delay_s: {delay_s}}}}}"


ENGINES = ", ".join(
    f"{role}: {_engine(role.replace('_', '-'), delay_s)}"
    for role, delay_s in {"writer": 0.3, "renderer": 0.2, "image_embedder": 0.1}.items()
)
SETTINGS = (f"runtime.engines={{{ENGINES}}}", f"evolution.generations={GENERATIONS}", "evolution.candidates=24")


class Watched:
    """A run in a folder of its own, and a command that watches it."""

    def __init__(self, head, name):
        self.head, self.out = head, head.folder / name
        self.ledger = head.folder / f"{name}-ledger"

    def watch(self, *settings, log="log"):
        file = self.head.folder / f"{self.out.name}.{log}"
        return self.head.watch(self.out, *SETTINGS, f"ledger.path={self.ledger}", *settings, log=file), file

    def events(self):
        """How many entries of each kind the ledger has."""
        return Counter(type(entry.event).__name__ for entry in Ledger(self.ledger, "stickers").entries())


def finished(run, log):
    """The run ended by itself in a release that verifies, with every draw of noise in it or told of as burned."""
    assert f"release: {run.out}/release" in log.read_text()
    verified = run.head.spti("verify", str(run.out), "--ledger", str(run.ledger))
    assert verified.returncode == 0, verified.stdout
    events = run.events()
    assert events["Committed"] == GENERATIONS
    assert events["Reserved"] == GENERATIONS + events["Burned"]


def kill_driver(head):
    """Kill -9 its process; whether there was one."""
    for process in head.processes("ray::DriverActor"):
        process.send_signal(signal.SIGKILL)
        return True
    return False


@pytest.mark.slow
def test_a_run_whose_driver_and_first_watcher_are_killed_goes_on_and_two_who_watch_see_the_same_end(head):
    run = Watched(head, "killed")
    first, first_log = run.watch()
    until(lambda: "generation 1/3" in first_log.read_text())
    watching = [run.watch(log="second"), run.watch(log="third")]
    until(lambda: all("watching it" in log.read_text() for _, log in watching))
    first.kill()
    until(lambda: kill_driver(head))
    logs = [log for command, log in watching if command.wait(240) == 0]
    assert len(logs) == 2, [log.read_text() for _, log in watching]
    finished(run, logs[0])
    assert "the run's driver was started again" in logs[0].read_text()
    assert "raylet" not in logs[0].read_text(), "Ray's own words about a lost worker are not for the terminal"
    ends = [log.read_text().split("attempt 2)")[1].split("prove it")[1] for log in logs]
    assert ends[0] == ends[1]


def nothing_at_work(head):
    return not any(head.processes(f"ray::{kind}") for kind in ("Driver", "Renderer", "Shard", "Async"))


@pytest.mark.slow
def test_other_settings_do_not_join_a_job_and_one_that_is_stopped_leaves_nothing_at_work(head):
    run = Watched(head, "stopped")
    told = head.submit(run.out, *SETTINGS, f"ledger.path={run.ledger}", follow=False)
    job = re.search(r"submitted (\S+);", told.stdout)
    assert job, told.stdout + told.stderr
    until(lambda: head.processes("ray::RendererActor"))
    stranger, other = run.watch("evolution.candidates=16", log="other")
    assert stranger.wait(120) == 2 and "a run with other settings is at work there" in other.read_text()
    # A SIGTERM to the job's command, and three seconds later a SIGKILL.
    stop = ["ray", "job", "stop", "--address", head.address, job[1]]
    subprocess.run(stop, env=head.environment(), check=True, capture_output=True, timeout=200)
    until(lambda: nothing_at_work(head))
    assert not (run.out / "release").exists()


def test_a_refusal_of_the_run_is_the_commands_exit_code_and_line(head):
    run = Watched(head, "refused")
    command, log = run.watch("dataset.lifetime_epsilon=0.5")
    assert command.wait(120) == 3
    assert [line for line in log.read_text().splitlines() if line.startswith("spti: ")] and not (
        run.out / "release"
    ).exists()


@pytest.mark.skipif(not SEEDS, reason="minutes of kills: make test-chaos")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_whose_driver_is_killed_at_any_moment_finishes_without_a_hand(head, seed):
    run, chance = Watched(head, f"seed{seed}"), random.Random(seed)
    command, log = run.watch()
    until(lambda: head.processes("ray::DriverActor"))
    time.sleep(chance.uniform(0, 25))
    kill_driver(head)
    assert command.wait(400) == 0, log.read_text()
    finished(run, log)

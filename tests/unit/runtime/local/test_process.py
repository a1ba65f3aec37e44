"""The private process: it answers in order, says nothing, and ends when its driver does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from spti_ray.config import EngineConfig
from spti_ray.finetuning import dp_finetune
from spti_ray.finetuning.public_interface import FinetuneFailed, UnfitPipeline
from spti_ray.runtime.hosting.engine import PRIVATE_ROLES
from spti_ray.runtime.local import process as local_process
from spti_ray.runtime.local.private_process import CallFailed, PrivateProcess, answer
from spti_ray.runtime.local.process import Process, ProcessEnded

ROOT = Path(__file__).parents[4]
HERE = "tests.unit.runtime.local.test_process"
SECRET = "canary-5d1e"


class Loud:
    """An engine that says what it was given in every way, and then fails with it."""

    def __init__(self, config):
        pass

    def identity(self):
        return {"kind": "loud", "model": "SIMULATED", "revision": "1"}

    def embed_texts(self, texts):
        from tests.taint.faults import shout

        shout(f"{SECRET} {texts}")
        if "limits" in texts:
            return [[float(number) for number in self._limits()]]
        raise ValueError(f"{SECRET} {texts}")

    def _limits(self):
        import resource

        return resource.getrlimit(resource.RLIMIT_CORE)


class Broken(Loud):
    def __init__(self, config):
        raise OSError("the weights are not\nthere")


def engine(kind="Loud"):
    return EngineConfig(kind=f"{HERE}:{kind}", model="SIMULATED")


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    process = Process(os.environ)
    yield process
    process.close()


def loaded(process: Process, kind: str = "Loud") -> str:
    process.ask("load", kind, "text_embedder", engine(kind), PRIVATE_ROLES).result(240)
    return kind


def test_it_answers_in_the_order_in_which_it_is_asked(process):
    answered: list[int] = []
    key = loaded(process)
    for number in range(20):
        process.ask("identity", key).add_done_callback(lambda _, number=number: answered.append(number))
    assert process.ask("identity", key).result(240)["kind"] == "loud"
    assert answered == list(range(20))


def test_of_an_engine_that_serves_shards_only_the_type_of_an_error_is_told(process):
    error = process.ask("run", loaded(process), (["a"],)).exception(240)
    assert isinstance(error, CallFailed) and str(error) == "ValueError"
    assert error.__cause__ is error.__context__ is None


def test_an_engine_that_can_not_be_had_is_told_in_one_line_and_the_process_goes_on(process):
    error = process.ask("load", "no", "text_embedder", engine("Broken"), PRIVATE_ROLES).exception(240)
    assert isinstance(error, CallFailed) and str(error).splitlines() == [str(error)]
    assert str(error) == "runtime.engines.text_embedder: OSError: the weights are not there"
    assert process.ask("identity", loaded(process)).result(240)


def test_a_crash_of_it_would_leave_no_core_dump(process):
    (limits,), _ = process.ask("run", loaded(process), (["limits"],)).result(240)
    assert max(limits) <= 1


def test_it_has_nowhere_to_write_to(process):
    loaded(process)
    for descriptor in (0, 1, 2):
        assert os.readlink(f"/proc/{process.pid}/fd/{descriptor}") == os.devnull


@contextlib.contextmanager
def heard() -> Iterator[tuple[Connection, subprocess.Popen[bytes]]]:
    """The process with outputs that can be read, which it has not as a run starts it."""
    ours, theirs = socket.socketpair()
    started = subprocess.Popen(
        [sys.executable, "-P", "-c", local_process._CODE, str(theirs.fileno()), str(os.getpid())],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(theirs.fileno(),),
    )
    theirs.close()
    connection = Connection(ours.detach())
    try:
        yield connection, started
    finally:
        connection.close()
        started.kill()
        started.communicate()


def test_what_is_said_in_it_is_heard_nowhere_even_where_somebody_listens():
    with heard() as (connection, started):
        connection.send((0, "load", ("key", "text_embedder", engine(), PRIVATE_ROLES)))
        connection.send((1, "run", ("key", (["a"],))))
        answers = [connection.recv(), connection.recv()]
        assert [answer[:2] for answer in answers] == [(0, True), (1, False)] and str(answers[1][2]) == "ValueError"
        connection.close()
        assert started.communicate(timeout=20) == (b"", b"")
        assert started.returncode == 0


def test_ctrl_c_is_for_the_driver_alone():
    with heard() as (connection, started):
        connection.send((0, "load", ("key", "text_embedder", engine(), PRIVATE_ROLES)))
        connection.recv()
        started.send_signal(signal.SIGINT)
        connection.send((1, "identity", ("key",)))
        assert connection.recv()[:2] == (1, True)


def test_what_can_not_be_sent_is_not_quoted():
    with heard() as (connection, _):
        connection.send((0, "_asking", ("key",)))
        number, went_well, error = connection.recv()
        assert (number, went_well) == (0, False) and "can't be sent" in str(error) and "_asking" not in str(error)


def test_one_that_ends_tells_how_to_all_who_wait_and_to_who_asks_later():
    process = Process(os.environ)
    waiting = process.ask("load", "key", "text_embedder", engine(), PRIVATE_ROLES)
    process.kill()
    for future in (waiting, process.ask("identity", "key")):
        with pytest.raises(ProcessEnded, match=r"was ended by signal 9; the same command goes on with the run$"):
            future.result(20)
    assert not process.is_alive
    process.close()


def test_it_ends_with_its_driver_also_where_a_child_of_that_holds_the_connection():
    code = (
        "import os, sys, time\n"
        "from spti_ray.runtime.local.process import Process\n"
        "process = Process(os.environ)\n"
        "if not os.fork(): time.sleep(60)\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    others = [child for child in psutil.Process(driver.pid).children() if child.pid != pid]
    driver.kill()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for child in others:
        child.kill()
    driver.wait()


def test_an_error_of_a_shard_has_only_its_type():
    process = PrivateProcess()

    class Failing:
        def prepare(self):
            raise KeyError(SECRET)

    process._shards[3] = Failing()  # type: ignore[assignment]
    went_well, error = answer(process, "ask_shard", (3, "prepare", ()))
    assert not went_well and str(error) == "shard 3: prepare failed (KeyError)"
    assert SECRET not in repr(error) and error.__cause__ is error.__context__ is None
    process.forget_shards()
    assert str(answer(process, "ask_shard", (3, "prepare", ()))[1]) == "shard 3: prepare failed (KeyError)"


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (KeyError(SECRET), FinetuneFailed("shard 0: fine-tuning failed (KeyError)")),
        (UnfitPipeline("the model has no UNet"), UnfitPipeline("the model has no UNet")),
    ],
)
def test_of_a_training_only_public_errors_are_told(tmp_path, monkeypatch, make_config, raised, told):
    def failing(config, folder, on_problems):
        raise raised

    monkeypatch.setattr(dp_finetune, "finetune_run", failing)
    went_well, error = answer(PrivateProcess(), "train", (make_config(), str(tmp_path), "run-1"))
    assert not went_well and type(error) is type(told) and error.args == told.args
    assert error.__cause__ is error.__context__ is None

"""What a command says and leaves as it ends early: by Ctrl-C, or because nobody reads its output any more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from rich.console import Console

from spti_ray.cli.leaving import READER_GONE, at_work, repeat_lost_interrupts, watch
from spti_ray.errors import INTERRUPTED

SAID = f"spti: {INTERRUPTED}\n"


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A stream whose reader has gone, and that is watched."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        watch(stream)
        yield stream


def test_printing_what_nobody_reads_ends_a_command_as_sigpipe_would(unread: TextIO):
    with pytest.raises(SystemExit) as left:
        print("a line", file=unread, flush=True)
    assert left.value.code == READER_GONE == 141
    print("what is said on the way out is dropped", file=unread, flush=True)


def test_a_command_at_work_drops_what_nobody_reads_and_goes_on(unread: TextIO):
    with at_work():
        print("a line", file=unread, flush=True)
        Console(file=unread).print("a line of rich's, which would end the process by itself")
    with at_work(), at_work():
        unread.write("x" * 100_000)
        unread.flush()


def test_what_a_full_disk_does_not_take_is_said_and_ends_a_command_unless_it_is_at_work(capsys):
    with open("/dev/full", "w") as first, open("/dev/full", "w") as second:
        for stream in (first, second):
            watch(stream)
        with pytest.raises(SystemExit) as left:
            print("a line", file=first, flush=True)
        assert left.value.code == 1
        with pytest.raises(SystemExit) as ended, at_work(), at_work():
            print("a line", file=second, flush=True)
            print("another, which is dropped without a word", file=second, flush=True)
        assert ended.value.code == 1
    with at_work():
        pass  # what another command could not write is forgotten
    line = "spti: what is printed can't be written (No space left on device)"
    assert capsys.readouterr().err == f"{line}\n{line}; the command goes on\n"


def test_a_file_never_takes_the_number_of_an_output_that_was_closed(tmp_path: Path):
    code = (
        "import os; from spti_ray.cli.leaving import watch_outputs; watch_outputs(); file = open('ledger', 'w'); "
        "print('said', flush=True); os.write(1, b'said by a library'); file.write(str(file.fileno() > 2)); "
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import os; os.fstat(1)'], check=True)"
    )
    closed = f'exec {sys.executable} -c "{code}" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", closed], cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.getcwd()}, timeout=60)
    assert done.returncode == 0 and (tmp_path / "ledger").read_text() == "True"


def spti(*arguments: str, cwd: Path, **outputs: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "spti_ray.cli", *arguments]
    return subprocess.run(
        command, cwd=cwd, timeout=120, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | outputs
    )


@pytest.mark.parametrize("arguments", [("--help",), ("verify", "--help"), ("manifest", "check", "nowhere")])
def test_no_command_complains_of_a_reader_that_has_gone(tmp_path: Path, arguments: tuple[str, ...]):
    reader, writer = os.pipe()
    os.close(reader)
    is_error = arguments[-1] == "nowhere"  # its line goes to stderr
    done = spti(*arguments, cwd=tmp_path, **{"stderr" if is_error else "stdout": writer})
    os.close(writer)
    assert done.returncode == READER_GONE and not done.stdout and not done.stderr


INTERRUPTS_ITSELF = """
import os, signal, sys
NAME = sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == NAME:
            exec("os.kill(os.getpid(), signal.SIGINT)")  # as code that dataclasses make
sys.meta_path.insert(0, Finder())
from spti_ray.cli import main
main("spti")
"""


@pytest.mark.parametrize(
    ("imported", "arguments"),
    [("typer", ("--version",)), ("spti_ray.cli.ledger", ("verify", "x")), ("spti_ray.release.verify", ("verify", "x"))],
)
def test_ctrl_c_while_it_imports_is_one_line_and_the_code_of_any_other(
    tmp_path: Path, imported: str, arguments: tuple[str, ...]
):
    command = [sys.executable, "-c", INTERRUPTS_ITSELF, imported, *arguments]
    done = subprocess.run(command, cwd=tmp_path, timeout=120, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", SAID)


CAUGHT = """
import os, signal
from spti_ray.cli.leaving import say_interrupted
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    exec("os.kill(os.getpid(), signal.SIGINT); os.getpid()")  # as code that dataclasses make
except KeyboardInterrupt:
    say_interrupted()
"""


def test_a_ctrl_c_that_was_caught_does_not_end_python_by_its_signal(tmp_path: Path):
    """As it would of `python -m`."""
    (tmp_path / "caught.py").write_text(CAUGHT)
    done = subprocess.run([sys.executable, "-m", "caught"], cwd=tmp_path, timeout=120, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, SAID)


@pytest.fixture
def interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_ctrl_c_where_nothing_can_be_raised_comes_again(monkeypatch: pytest.MonkeyPatch, capfd):
    class LetGo:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    repeat_lost_interrupts()
    with pytest.raises(KeyboardInterrupt):
        LetGo()
        time.sleep(5)
    assert capfd.readouterr().err == ""

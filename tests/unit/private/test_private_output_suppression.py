"""Processes that hold private content say nothing: each test runs its code in a process of its own."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SPEAK = """
import ctypes, gc, logging, os, sys, threading, warnings
from spti_ray.private.output_suppression import suppress_crash_output, suppress_output_permanently, suppressed_output
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
early = logging.StreamHandler(sys.__stderr__)

class Falls:
    def __init__(self, text):
        self.text = text
    def __del__(self):
        raise ValueError(self.text)

def fails(text):
    raise ValueError(text)

def speak(text):
    print(text)
    print(text, end="", file=sys.stderr)
    sys.__stdout__.write(text)
    sys.__stderr__.write(text)
    os.write(1, text.encode())
    os.write(2, text.encode())
    os.system(f"echo {text}; echo {text} >&2")
    ctypes.CDLL(None).puts(text.encode())
    logging.getLogger("library").debug(text)
    logging.critical(text)
    logging.getLogger("library").log(10**6, text)
    early.emit(logging.makeLogRecord({"msg": text}))
    warnings.warn(text)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(text)
    thread = threading.Thread(target=fails, args=[text])
    thread.start(); thread.join()
    Falls(text); gc.collect()
"""


def _run(code: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-c", SPEAK + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_the_speaker_is_heard_without_suppression():
    out, err = _run("speak('OPEN')")
    assert out.count("OPEN") == 5 and err.count("OPEN") >= 11


def test_nothing_is_heard_of_a_silenced_process():
    assert _run("suppress_output_permanently(); speak('SECRET'); print(7, file=sys.stderr); faulthandler = 1") == (
        "",
        "",
    )


def test_a_silenced_process_crashes_in_silence():
    code = "import faulthandler; suppress_output_permanently(); faulthandler.enable(); fails('SECRET')"
    done = subprocess.run(
        [sys.executable, "-c", SPEAK + code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and (done.stdout, done.stderr) == ("", "")


def test_only_what_is_said_within_is_lost():
    out, err = _run("speak('BEFORE')\nwith suppressed_output():\n    speak('SECRET')\nspeak('AFTER')")
    assert "SECRET" not in out + err
    for said in (out, err):
        assert said.count("BEFORE") == said.count("AFTER") >= 5


def test_the_last_of_several_threads_opens_its_mouth_again():
    code = """
inside, outside = threading.Event(), threading.Event()
def first():
    with suppressed_output():
        inside.set(); outside.wait(20); speak('SECRET')
thread = threading.Thread(target=first)
thread.start(); inside.wait(20)
with suppressed_output():
    speak('SECRET')
speak('SECRET')
outside.set(); thread.join(); speak('AFTER')
"""
    out, err = _run(code)
    assert "SECRET" not in out + err and out.count("AFTER") == 5 and err.count("AFTER") >= 11


def test_all_is_as_it_was_after_an_error():
    code = "try:\n    with suppressed_output():\n        speak('SECRET'); 1 / 0\n"
    code += "except ZeroDivisionError:\n    speak('AFTER')"
    out, err = _run(code)
    assert "SECRET" not in out + err and out.count("AFTER") == 5 and err.count("AFTER") >= 11


def test_hush_leaves_no_descriptor_open():
    out, _ = _run(
        "count = lambda: len(os.listdir('/proc/self/fd'))\nwith suppressed_output(): pass\nbefore = count()\n"
        "for _ in range(50):\n    with suppressed_output():\n        pass\nprint(count() - before)"
    )
    assert out == "0\n"


def test_threads_and_finalisers_of_a_process_without_remains_tell_nothing_later():
    code = "suppress_crash_output()\nthread = threading.Thread(target=fails, args=['SECRET'])\n"
    code += "thread.start(); thread.join()\n"
    assert _run(code + "Falls('SECRET'); gc.collect(); print('heard')") == ("heard\n", "")


def _dumps_core(folder: Path, before: str) -> bool:
    """Whether a process that aborts after the code `before` leaves a core dump, here or with the system's handler."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    code = f"import os, resource; os.chdir({str(folder)!r}); resource.setrlimit(resource.RLIMIT_CORE, ({hard}, {hard}))"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", f"{code}; {before}; os.abort()"], os.environ)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status) or bool(list(folder.iterdir()))


def test_a_crash_of_a_silenced_process_leaves_no_core_dump(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "silent").mkdir()
    if not _dumps_core(tmp_path / "open", "pass"):
        pytest.skip("this machine keeps no core dumps")
    imported = "from spti_ray.private.output_suppression import suppress_output_permanently"
    assert not _dumps_core(tmp_path / "silent", f"{imported}; suppress_output_permanently()")


def test_a_limit_that_can_not_be_raised_stays():
    code = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); suppress_crash_output(); "
    assert _run(code + "print(resource.getrlimit(resource.RLIMIT_CORE))")[0] == "(0, 0)\n"

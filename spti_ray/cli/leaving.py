"""How a command ends that is interrupted, or whose output nobody reads any more: soon, and in a line at most.

Imports next to nothing, since Ctrl-C may come while all else is imported.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

READER_GONE = 128 + signal.SIGPIPE
"""The exit code of a command that was still printing: what a shell says of a program that SIGPIPE has ended."""

INTERRUPTED_OUTSIDE = 128 + signal.SIGINT
"""Typer's, of Ctrl-C before or after a command's own code."""

_MOMENT_S = 0.05

_goes_on: list[bool] = []
"""Not empty while a command is at work that comes to its end whether anybody reads what it says."""

_unwritten: list[bool] = []
"""Not empty once a command at work said what could not be written."""


@contextmanager
def at_work() -> Iterator[None]:
    """Within, the output is dropped once nobody reads it, and the command goes on: a charge may depend on it.

    Raises:
        SystemExit: at the end, with 1, where something could not be written though somebody may have waited for it, as
            on a full disk.
    """
    _goes_on.append(True)
    try:
        yield
    finally:
        _goes_on.pop()
    if _unwritten and not _goes_on:
        _unwritten.clear()
        raise SystemExit(1)


def watch_outputs() -> None:
    """`watch` the outputs of this process. What was closed before it began goes nowhere: the next file that is opened
    would take its number otherwise, and what a library or another process prints would go into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 for as long as the process lives
        watch(getattr(sys, name))


def watch(stream: TextIO) -> None:
    """From now on, printing to this stream what nobody reads ends the process without a word, with `READER_GONE`. What
    can't be written for another reason, as to a full disk, ends it with 1 and a line on stderr; `at_work` does so at
    its end.

    SIGPIPE stays ignored: it would end the process also where a socket or another process of its own is gone.
    """
    for method in ("write", "flush"):
        setattr(stream, method, _unless_gone(stream, getattr(stream, method)))


def _unless_gone(stream: TextIO, call: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except BrokenPipeError:
            _drop(stream)
            if _goes_on:
                return len(arguments[0]) if arguments else None
            raise SystemExit(READER_GONE) from None
        except BlockingIOError:
            raise  # only for now
        except OSError as error:
            _drop(stream)
            if stream is sys.stderr:  # no reason for another exit code than that which is on its way
                return len(arguments[0]) if arguments else None
            _say_unwritten(error)
            if _goes_on:
                _unwritten.append(True)
                return len(arguments[0]) if arguments else None
            raise SystemExit(1) from None

    return called


def _say_unwritten(error: OSError) -> None:
    goes_on = "; the command goes on" if _goes_on else ""
    why = error.strerror or type(error).__name__
    print(f"spti: what is printed can't be written ({why}){goes_on}", file=sys.stderr)


def _drop(stream: TextIO) -> None:
    """Let all that goes to a stream, and what waits in it, go nowhere: an interpreter that ends would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def repeat_lost_interrupts() -> None:
    """Raise a Ctrl-C again that came where nothing can be raised, as while a module is let go after its import."""
    told = sys.unraisablehook

    def hook(lost: UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            _thread.start_new_thread(_interrupt, ())  # here it would be lost again
        else:
            told(lost)

    sys.unraisablehook = hook


def _interrupt() -> None:
    time.sleep(_MOMENT_S)
    _thread.interrupt_main()


def is_of_interrupt(error: BaseException | None) -> bool:
    """Whether an error came of Ctrl-C: libraries that are imported make other errors of it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def end_by_exit_code() -> None:
    """After a Ctrl-C: let this process end with the exit code that it chooses.

    Where Ctrl-C met code that was made of a text, as dataclasses are, Python ends by SIGINT in the end, whoever caught
    it. It notes so only until it runs a text again.
    """
    exec("")


def say_interrupted() -> NoReturn:
    """End with the line and the exit code of an interrupted command."""
    from spti_ray.errors import FAILED, INTERRUPTED

    end_by_exit_code()
    print(f"spti: {INTERRUPTED}", file=sys.stderr)
    raise SystemExit(FAILED)

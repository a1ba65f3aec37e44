"""Faults that a test plants, in any process of a run: the file `faults.json` in TAINT_HOME says what fails and how.

It maps a place (a role of an engine, or a function's dotted name) to {"error": one of ERRORS, "times": how often};
the error "shout" says the same text in many ways, and nothing fails.
The file is read whenever a place is reached, so that a test can change it while the actors are up.
"""

from __future__ import annotations

import importlib.machinery
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

ROLES = ("writer", "renderer", "captioner", "image_embedder", "text_embedder")
PLACES = (
    "spti_ray.private.shard.load_shard",
    "spti_ray.private.embedding.quantise",
    "spti_ray.private.shard.cast_votes",
    "spti_ray.private.shard.cast_answers",
    "spti_ray.private.view_store.private_folder",
    "spti_ray.private.view_store.atomic_file",
    "spti_ray.private.view_rows._with_vectors",
    "spti_ray.private.record.decode",
    "spti_ray.private.record.read",
    "spti_ray.private.survey.pixel_format",
)
"""Functions of the private side that can be made to fail, as the module that calls them knows them."""


class Panic(BaseException):
    """No Exception: as a panic of a Rust library (PyO3) is none."""


class Unpicklable(Exception):
    def __init__(self, text: str, handle: Any = None) -> None:
        super().__init__(text)
        self.handle = handle or (lambda: text)


def _chained(text: str) -> NoReturn:
    """An exception with the text in its cause, its context and its notes as well."""
    try:
        try:
            raise KeyError(text)
        except KeyError:
            raise LookupError(text)  # noqa: B904 the context is what this is for
    except LookupError as error:
        failure = RuntimeError(text)
        failure.add_note(text)
        raise failure from error


def shout(text: str) -> None:
    """Say it in every way that a process has."""
    print(text)
    print(text, file=sys.stderr)
    os.write(1, text.encode() + b"\n")
    os.write(2, text.encode() + b"\n")
    logging.getLogger("library").critical(text)
    logging.getLogger("library").debug(text)
    logging.getLogger("ray").error(text)
    warnings.warn(text, stacklevel=1)


def _dead(text: str) -> Exception:
    from spti_ray.models.protocols import EngineDead

    return EngineDead(text)


ERRORS = {
    "EngineDead": _dead,
    "ValueError": ValueError,
    "MemoryError": MemoryError,
    "OSError": lambda text: OSError(5, text, text),
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "Panic": Panic,
    "Unpicklable": Unpicklable,
    "group": lambda text: ExceptionGroup(text, [ValueError(text)]),
    "UnicodeDecodeError": lambda text: UnicodeDecodeError("utf-8", text.encode(), 0, 1, text),
}


def plant_in(home: Path, faults: dict[str, tuple[str, int]]) -> None:
    """From now on each place fails with the named error, so many times in all; what was planted before is gone."""
    unknown = faults.keys() - {*PLACES, *ROLES}
    assert not unknown, f"nothing would fail at {unknown}"
    for mark in home.glob("*.[0-9]*"):
        mark.unlink()
    planted = {place: {"error": error, "times": times} for place, (error, times) in faults.items()}
    (home / "faults.json.new").write_text(json.dumps(planted))
    (home / "faults.json.new").rename(home / "faults.json")


def strike(place: str, content: object) -> None:
    """Raise the error that is planted at `place`, with `content` in it; do nothing if there is none (any more)."""
    home = os.environ.get("TAINT_HOME")
    if not home:
        return
    planted = json.loads((Path(home) / "faults.json").read_text()).get(place)
    if planted is None or not _left(Path(home), place, planted["times"]):
        return
    text = f"{place} failed on {content!r}"
    if planted["error"] == "shout":
        shout(text)
        return
    if planted["error"] == "chained":
        _chained(text)
    raise ERRORS[planted["error"]](text)


def _left(home: Path, place: str, times: int) -> bool:
    """Count this time; whether it is among the first `times`. Works across processes and their restarts."""
    for number in range(times):
        try:
            os.close(os.open(home / f"{place}.{number}", os.O_CREAT | os.O_EXCL))
            return True
        except FileExistsError:
            continue
    return False


class _Planter:
    """Finds the package's modules as usual, and puts the faults into those that PLACES names once they are loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if not any(place.rpartition(".")[0] == name for place in PLACES):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                plant(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def plant(module: Any) -> None:
    for place in PLACES:
        owner, _, name = place.rpartition(".")
        if owner == module.__name__:
            # A place that is gone is an error here: its fault would never strike, and nothing be tested.
            setattr(module, name, _failing(place, getattr(module, name)))


def _failing(place: str, function: Any) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from tests.taint.scan import CORE

        strike(place, [CORE, args, kwargs])
        return function(*args, **kwargs)

    return wrapped


def install() -> None:
    sys.meta_path.insert(0, _Planter())  # type: ignore[arg-type]

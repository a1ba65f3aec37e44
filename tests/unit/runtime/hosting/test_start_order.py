"""Engines that are needed later are imported at a lower priority, and work at the process's own."""

import gc
import os
import sys
import threading

import pytest

from spti_ray.config import EngineConfig
from spti_ray.runtime.hosting.engine import PrivateEngineHost, RendererHost
from spti_ray.runtime.hosting.start_order import import_in_line

LOWEST = 19  # where tests run at a low priority themselves
MODULE = """
import gc
from tests.unit.runtime.hosting.test_start_order import my_niceness

AT_IMPORT, COLLECTS = my_niceness(), gc.isenabled()


class Engine:
    def __init__(self, config):
        self.niceness = AT_IMPORT, my_niceness()

    def identity(self):
        return {}

    render = embed_images = write = None
"""


def my_niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "an_engine_of_their_own.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "an_engine_of_their_own"
    sys.modules.pop("an_engine_of_their_own", None)


def test_the_writer_is_imported_first_then_what_embeds_and_then_the_renderer(module):
    niceness, before = [], my_niceness()
    for role in ("writer", "image_embedder", "renderer"):
        niceness.append(import_in_line(role, module).AT_IMPORT)
        del sys.modules[module]
    writer, embedder, renderer = niceness
    assert writer == before == my_niceness() and before < embedder
    assert embedder < renderer or embedder == LOWEST


@pytest.mark.parametrize(
    ("make", "role", "num_gpus", "steps_back"),
    [
        (RendererHost, "renderer", 0, False),
        (PrivateEngineHost, "image_embedder", 0, True),
        (PrivateEngineHost, "image_embedder", 1, False),
    ],
)
def test_an_engine_works_at_the_priority_of_its_process_but_an_embedder_on_cpu(
    module, make, role, num_gpus, steps_back
):
    host = make(role, EngineConfig(kind=f"{module}:Engine", model="SIMULATED", num_gpus=num_gpus))
    at_import, at_work = host._engine.niceness
    host.close()
    assert at_import > my_niceness() and (at_work > my_niceness()) == steps_back


def test_garbage_is_looked_for_again_after_an_import(module):
    assert import_in_line("writer", module).COLLECTS is False and gc.isenabled()


def test_an_import_that_fails_fails_as_without_a_thread(module, tmp_path):
    (tmp_path / f"{module}.py").write_text("raise ImportError('undefined symbol')")
    with pytest.raises(ImportError, match="undefined symbol"):
        import_in_line("renderer", module)

"""Loading without the search for garbage that Python makes after each so many new objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search_for_garbage() -> Iterator[None]:
    """Next to nothing of what an import makes is garbage, and to find that out took a fifth of the imports of vLLM,
    diffusers and transformers."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()

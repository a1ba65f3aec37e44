"""A GGUF file is read once while transformers converts it: reading it three times would be most of the work.

transformers 5.19 reads the file anew for the config, the weights and the tokenizer, and gguf 0.19 does it token by
token in Python; it also makes the table of tensor names anew for each of 400 tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import gguf


@contextmanager
def gguf_read_once() -> Iterator[None]:
    """Give whoever reads a GGUF file in here the reader, and the table of names, that was made before; both are only
    read from.
    """
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = map(functools.cache, before)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = before

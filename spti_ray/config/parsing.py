"""Strict parsing of YAML and JSON that people wrote: keys that are set twice and trees without bounds are refused."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

DEEPEST = 60
"""Levels of nesting that are read; no section needs ten."""
_LARGEST_FILE = 16 * 2**20
_MOST_VALUES = 1_000_000
"""With all aliases of YAML written out."""


class Unreadable(ValueError):
    """Text or a file that can't be used; the message says why and what to do, but not which file."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 in which no key is set twice in one mapping, and merges (`<<`) don't grow without bounds."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST + 1:
            # Well below Python's recursion limit, of which the caller has used some.
            raise Unreadable(_TOO_DEEP)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                raise Unreadable(f"line {line}: {key.value} is set twice; keep one of them")
            seen.add((key.tag, key.value))
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        # A key that is merged in several times is kept once, with its last value.
        last: dict[Hashable, Any] = {}
        for key, value in node.value:
            last[(key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)] = (key, value)
        node.value = list(last.values())


def parse_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        Unreadable: it is no valid YAML, sets a key twice, or is too deep or too large.
    """
    try:
        value = yaml.load(text, Loader=_Loader)
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f" at line {mark.line + 1}" if mark else ""
        odd = isinstance(error, yaml.reader.ReaderError)
        raise Unreadable(
            "is no text: it has characters that YAML does not allow; write it as text in UTF-8"
            if odd
            else f"not valid YAML{where}: {problem or 'syntax error'}"
        ) from None
    except ValueError as error:
        # Such as a date of the 31st of February.
        raise Unreadable(f"not valid YAML: {error}; write it in quotes if it is meant as text") from None
    check_size(value)
    return value


def check_size(value: Any) -> None:
    """Refuse a tree that is nested too deeply, holds itself, or is too large when all aliases are written out.

    Raises:
        Unreadable: it is.
    """
    left, values = [(value, 1)], 0
    while left:
        node, depth = left.pop()
        values += 1
        if isinstance(node, Mapping):
            inner = list(node.values())
        elif isinstance(node, (list, tuple)):
            inner = list(node)
        else:
            continue
        if depth > DEEPEST and inner:
            raise Unreadable(_TOO_DEEP)
        if values + len(left) + len(inner) > _MOST_VALUES:
            raise Unreadable(f"it has more than {_MOST_VALUES} values, with aliases (*) written out; make it smaller")
        left += [(child, depth + 1) for child in inner]


def read_text(path: Path) -> str:
    """The text of a small file or of a pipe, in UTF-8.

    Raises:
        FileNotFoundError: there is no such file.
        Unreadable: it is a folder, too large, no text, or can't be read.
    """
    if path.is_dir():
        raise Unreadable("is a folder; give the file in it")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"can't be read ({error.strerror})") from None
    if len(content) > _LARGEST_FILE:
        raise Unreadable(f"is larger than {_LARGEST_FILE // 2**20} MiB, and so not meant; give a file of settings")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("is no text in UTF-8; write it as such") from None


def parse_json(text: str | bytes, twice: bool = True) -> Any:
    """`json.loads`, which refuses text that is nested too deeply too.

    Args:
        text: the JSON.
        twice: whether an object may have a key twice; programs differ in which of the values they then read.

    Raises:
        json.JSONDecodeError: it is no valid JSON, or too deep, or has a key twice where that is refused.
    """
    try:
        return json.loads(text, object_pairs_hook=None if twice else _each_once)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise json.JSONDecodeError("a key is there twice", "", 0)
    return found


_TOO_DEEP = f"it is nested more than {DEEPEST} levels deep, or holds itself; make it flatter"

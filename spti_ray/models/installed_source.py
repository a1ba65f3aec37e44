"""What the classes of an installed library take, read from its source.

Importing diffusers or vLLM takes ten seconds and a gigabyte, which planning must not cost. So what planning has to know
of them (the arguments of a pipeline's call, the fields of vLLM's arguments) is read without running any of it. The
tests hold it to what the imported classes say.
"""

from __future__ import annotations

import ast
import functools
import re
from importlib.util import find_spec
from pathlib import Path

_CLASS = re.compile(r"^class (\w+)[(:]", re.MULTILINE)


@functools.cache
def module_source(package: str, file: str) -> ast.Module | None:
    """The parsed source of a file of an installed package, such as ("vllm", "engine/arg_utils.py"); None without it."""
    root = _root(package)
    if root is None or not (root / file).is_file():
        return None
    return ast.parse((root / file).read_text(encoding="utf-8"))


def class_file(package: str, folder: str, name: str) -> str | None:
    """The file below `folder` of an installed package that defines class `name`; None if there is none."""
    return _classes(package, folder).get(name)


@functools.cache
def _classes(package: str, folder: str) -> dict[str, str]:
    """Class to the file that defines it, of those at the left margin."""
    root, found = _root(package), dict[str, str]()
    if root is None:
        return found
    for path in sorted((root / folder).rglob("*.py")):
        for name in _CLASS.findall(path.read_text(encoding="utf-8")):
            found.setdefault(name, path.relative_to(root).as_posix())
    return found


def class_in(package: str, file: str, name: str) -> ast.ClassDef | None:
    """The definition of class `name` in a file of an installed package; None if it is not there."""
    module = module_source(package, file)
    found = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == name) if module else ()
    return next(iter(found), None)


def parameters_of(definition: ast.ClassDef, method: str) -> frozenset[str] | None:
    """Names of a method's parameters without `self` and `**kwargs`; None if the class has no such method."""
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == method:
            given = node.args
            return frozenset(arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)) - {"self"}
    return None


def strings_in(definition: ast.ClassDef, name: str) -> tuple[str, ...]:
    """A class's own attribute that is a list of strings; empty if it has none."""
    for node in definition.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return tuple(str(each) for each in ast.literal_eval(node.value))
    return ()


def fields_of(definition: ast.ClassDef) -> frozenset[str]:
    """Names of the fields of a dataclass, without those of its bases."""
    return frozenset(
        node.target.id
        for node in definition.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    )


def _root(package: str) -> Path | None:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]) if folders else None

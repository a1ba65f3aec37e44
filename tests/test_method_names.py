"""Nobody asks which method is running but its own file and the registry, read from the source of every file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from spti_ray.methods import METHODS
from tests.test_imports import ROOT, modules

UNMISTAKABLE = {name for name in METHODS if "-" in name}
"""Names that are nothing but a method's; `captions`, `random` and `spti` are other things too."""


def is_method(node: ast.AST) -> bool:
    """Whether an expression is the method of a run: `config.method`, `summary["method"]`, or a variable `method`."""
    if isinstance(node, ast.Attribute):
        return node.attr == "method"
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "method"
    return isinstance(node, ast.Name) and node.id == "method"


def texts_in(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def asks(source: str) -> Iterator[int]:
    """Lines of `source` that tell methods apart by name."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(is_method(side) for side in sides) and any(set(texts_in(side)) & set(METHODS) for side in sides):
                yield node.lineno
        elif isinstance(node, ast.Match) and is_method(node.subject):
            if any(set(texts_in(case.pattern)) & set(METHODS) for case in node.cases):
                yield node.lineno
        elif isinstance(node, ast.Constant) and node.value in UNMISTAKABLE:
            yield node.lineno


def files() -> dict[str, Path]:
    jobs = {f"jobs.{path.stem}": path for path in sorted((ROOT / "jobs").rglob("*.py"))}
    return {name: path for name, path in modules().items() if not name.startswith("spti_ray.methods.")} | jobs


def test_no_template_tells_methods_apart_by_name():
    templates = [path for path in (ROOT / "spti_ray").rglob("*.j2")]
    asks = re.compile(rf"""\bmethod\s*(==|!=|in)\s|["']({"|".join(UNMISTAKABLE)})["']""")
    assert len(templates) > 2 and [p.name for p in templates if asks.search(p.read_text(encoding="utf-8"))] == []


def test_no_module_but_a_methods_own_tells_methods_apart_by_name():
    found = [f"{name}:{line}" for name, path in files().items() for line in asks(path.read_text(encoding="utf-8"))]
    assert len(files()) > 200 and found == []


@pytest.mark.parametrize(
    "source",
    [
        'if config.method == "captions": ...',
        'if "spti" != self._config.method: ...',
        'voted = config.method in ("spti", "other")',
        'if summary["method"] == "random": ...',
        'def f(method): return method == "spti"',
        'MAKE = {"pe-image": f}',
        'f(method="dp-finetune")',
        'match config.method:\n    case "spti": ...',
    ],
)
def test_a_planted_question_is_found(source):
    assert set(asks(source)) == {1} or set(asks(source)) == {2}


@pytest.mark.parametrize(
    "source",
    [
        "if config.method != before.method: ...",
        'raise ValueError("with method: pe-image this is refused")',
        'if role == "captions": ...',
        'app = Typer(name="spti")',
        'kind = methods[summary["method"]]',
        'summary = {"method": config.method}',
    ],
)
def test_what_is_no_question_is_not_reported(source):
    assert list(asks(source)) == []

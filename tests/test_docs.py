"""The documents say what is: the tests that they name exist, and no field of a certificate is left unexplained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spti_ray.dp.calibration import plan_at
from spti_ray.dp.certificate import certificate
from spti_ray.dp.ledger import Ledger

ROOT = Path(__file__).parents[1]
PRIVACY = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")


def named_tests(text: str) -> list[tuple[str, str]]:
    """(file under tests/, function) of all `file.py::test_name` and following `::test_name` in a document."""
    found, file = [], ""
    for name in re.findall(r"`([\w/]*(?:\.py)?::test_\w+)`", text):
        path, _, function = name.partition("::")
        file = path or file
        found.append((file, function))
    return found


def functions_of(file: str) -> set[str]:
    path = ROOT / "tests" / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_rule_of_the_privacy_contract_names_a_test_that_exists():
    named = named_tests(PRIVACY)
    assert len(named) > 80
    assert [name for name in named if name[1] not in functions_of(name[0])] == []


def test_every_row_of_the_table_of_rules_names_a_keeper_that_exists_and_a_test():
    table = PRIVACY.split("## Rule, keeper, test")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) > 40
    for rule, keepers, tests in rows:
        assert "::test_" in tests, rule
        for keeper in re.findall(r"`([\w/]+\.py)`", keepers):
            assert (ROOT / "spti_ray" / keeper).is_file(), f"{rule}: {keeper}"


def fields(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and path.count(".") < 1:
        for key, part in value.items():
            yield from fields(part, f"{path}.{key}" if path else key)
    else:
        yield path


def test_every_field_of_the_certificate_is_explained_with_its_proof(tmp_path):
    plan = plan_at(8.0, 1.0, 1e-5, 1, 3, 1)
    ledger = Ledger(tmp_path, "ds")
    ledger.register(4.0, 1e-5)
    ledger.open_run("r", plan, "c", "n", True, outside="captioner m at https://host").reserve(0, "ab", 4, "v")
    document = certificate(ledger.entries(), "r")
    assert document is not None
    document |= {"release": {"images": 1, "manifest_sha256": "ab"}}
    table = PRIVACY.split("| field | from | proof |")[1].split("\n\n")[0]
    explained: set[str] = set()
    for row in table.splitlines():
        top = ""
        for name in re.findall(r"`([\w.]+)`", row.split(" | ")[0]):
            top = top if name.startswith(".") else name.split(".")[0]
            explained.add(f"{top}{name}" if name.startswith(".") else name)
    missing = [field for field in fields(document) if field not in explained and field.split(".")[0] not in explained]
    assert missing == []

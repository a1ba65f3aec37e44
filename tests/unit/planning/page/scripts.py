"""Runs the scripts of a plan's page: in Node.js, else in headless Chromium; a test is skipped where is neither."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spti_ray.planning.page.build import FORMULAS
from tests.browser import CHROMIUM, opened

NODE = shutil.which("node")


def values_in(page: Path) -> dict[str, Any]:
    """What the planner wrote into a page."""
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('<script type="application/json" id="planner-values">')[1].split("</script>")[0])


def computed(page: Path, expression: str, given: Any = None) -> Any:
    """An expression of JavaScript, as JSON, by the page's own formulas.

    Args:
        page: a page of `spti plan --html`.
        expression: of `d`, what the planner wrote into the page, and of `given`.
        given: a JSON value.
    """
    program = f"const d = {json.dumps(values_in(page))}, given = {json.dumps(given)};"
    if NODE:
        scripts = re.findall(r"<script>(.*?)</script>", page.read_text(encoding="utf-8"), re.DOTALL)[: len(FORMULAS)]
        source = "\n".join([*scripts, program, f"process.stdout.write(JSON.stringify({expression}) ?? 'null');"])
        done = subprocess.run([NODE, "-"], input=source, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)
    if CHROMIUM:
        with opened(page, page.parent) as tab:
            return json.loads(tab.value(f"(() => {{ {program} return JSON.stringify({expression}); }})()"))
    pytest.skip("neither Node.js nor Chromium is on this machine, so nothing runs the page's script")

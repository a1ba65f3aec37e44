"""Which tests run one after the other in one process of `pytest -n`, and which are begun first.

Each file's tests stay together, for they share fixtures. Beyond that the table says which files share one: because
they share something that takes long to make, or because two of them at a time would be too much for a small machine.
What takes longest begins first, so that no process is left with it in the end.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    "parts of Ray": ("tests/ray/",),  # share a cluster
    "whole runs on Ray": (  # one at a time
        "tests/e2e/test_real_engines.py",
        "tests/e2e/test_slurm.py",
        "tests/e2e/test_taint.py",
        "tests/e2e/test_interruption.py",
        "tests/e2e/test_openai_endpoint.py",
        "tests/e2e/test_without_a_home.py",
    ),
    "vLLM": (  # one language model at a time
        "tests/e2e/test_engines.py",
        "tests/e2e/test_vllm_captioner.py",
        "tests/e2e/test_init.py",
    ),
    "a finished run, and one of all audits": (
        "tests/e2e/test_command_line.py",
        "tests/e2e/test_evaluate.py",
        "tests/e2e/test_failing_writer.py",
        "tests/e2e/test_refine.py",
        "tests/e2e/test_refusals.py",
        "tests/e2e/test_what_a_run_leaves.py",
        "tests/statistical/test_canary.py",
        "tests/statistical/test_sampler.py",
    ),
}
"""Files, and folders that end in a slash, in the order in which they begin."""


def unit_of(nodeid: str) -> str:
    """What stays together with this test."""
    file = nodeid.partition("::")[0]
    return next((name for name, parts in TOGETHER.items() if file.startswith(parts)), file)


def place_of(nodeid: str) -> int:
    """By which tests are begun: those of the table in its order, then all others as they were collected."""
    file = nodeid.partition("::")[0]
    parts = [part for parts in TOGETHER.values() for part in parts]
    return next((number for number, part in enumerate(parts) if file.startswith(part)), len(parts))


class ByFile(LoadScopeScheduling):
    """Gives a process that is free the next unit, in the order of the collected tests."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # by which units of most tests would come first

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

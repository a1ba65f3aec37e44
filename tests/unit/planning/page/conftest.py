"""Pages of plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from spti_ray.config import Config
from spti_ray.planning.costs.report import costs_of
from spti_ray.planning.page.build import write_plan_page
from spti_ray.planning.plan import plan_summary


@pytest.fixture
def page_of(tmp_path) -> Callable[..., Path]:
    """Writes the page of a configuration."""

    def write(
        config: Config, records: int | None = None, rates: Sequence[Path] = (), prices: Sequence[str] = ()
    ) -> Path:
        page = tmp_path / "plan.html"
        summary = plan_summary(config, records)
        write_plan_page(page, config, costs_of(config, rates, prices, records), summary, ["spti", "plan", "my.yaml"])
        return page

    return write

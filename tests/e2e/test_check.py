"""`spti check` as a user starts it, on Ray: a page for the owner, and nothing else anywhere."""

from __future__ import annotations

import stat

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import FEW, few_stickers


@pytest.mark.slow
def test_shards_on_ray_write_down_what_their_records_are(cli):
    settings = ("runtime.shards=2", "dataset.lifetime_epsilon=8", f"data.path={few_stickers()}")
    arguments = cli.run_arguments("run", *settings, on_ray=True)
    done = cli("check", *arguments[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    internal = cli.folder / "run" / "internal"
    assert done.stdout == "for the owner only: run/internal/check.html\n"
    assert str(FEW) not in done.stdout + done.stderr and "noted as a look" in done.stderr
    page = (internal / "check.html").read_text()
    assert f"{FEW} of {FEW} records can vote" in page and page.count("data:image/jpeg") > 50
    assert stat.S_IMODE((internal / "check.html").stat().st_mode) == 0o600
    views = sorted(path.name for path in (internal / "views").iterdir())
    assert views == ["views-00000-of-00002.arrow", "views-00001-of-00002.arrow"]
    assert pq.read_metadata(few_stickers()).num_rows == FEW
    assert not (cli.folder / "ledger").exists() and not (cli.folder / "run" / "run.yaml").exists()

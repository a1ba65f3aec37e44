"""`spti show` in headless Chromium. Skipped where there is none."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest

from tests.local_runs import run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=2000 --dump-dom"
).split()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_browser_shows_the_report_at_the_printed_address_until_it_is_ended(ending, local, kept, tmp_path):
    run(local(privacy__allow_not_private=True), tmp_path / "run")
    command = [sys.executable, "-m", "spti_ray.cli", "show", str(tmp_path / "run")]
    # Who starts the tests may ignore SIGINT, and what they start inherits that.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    with subprocess.Popen(command, **pipes, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) as server:
        try:
            address = server.stdout.readline().split()[0]
            browser = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", address]
            page = subprocess.run(browser, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120)
            assert 'id="gallery"' in page.stdout and page.stdout.count('class="tile') == 5
            server.send_signal(ending)
            said = server.communicate(timeout=30)
        finally:
            server.kill()
    assert server.returncode == 0 and said == ("", "")

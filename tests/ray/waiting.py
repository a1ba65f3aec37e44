"""Waits for what another process is about to do."""

import time


def until(condition, seconds=180):
    """What `condition` gives, once that is true; the test fails if it takes longer."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found

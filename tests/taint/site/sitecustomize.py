"""Runs at the start of every Python process of the taint test's run: everything is logged, and faults are planted."""

import logging
import os
import sys

if os.environ.get("TAINT_HOME"):
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    from tests.taint import faults

    faults.install()

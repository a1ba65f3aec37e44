"""A run that was refused after its nodes had come, so that who starts it again by itself asks for none of them.

A job on Kubernetes is tried again after any failure (`attempts`). Settings and data that can't be used (exit code 2)
and a plan whose queries are used up (3) stay so: the next attempt tells the same, before any worker is asked for.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spti_ray import __version__
from spti_ray.config import Config
from spti_ray.config.identity import resolved
from spti_ray.dp.budget import BudgetRefused
from spti_ray.errors import BUDGET, USAGE, exit_code, one_line
from spti_ray.io.files import write_atomic

REFUSED_FILE = "refused.json"

STANDS_S = 3600.0
"""So long a refusal stands. The next attempt of a job comes within minutes; somebody who starts the job anew may have
put right what the run folder knows nothing of."""


class RefusedBefore(RuntimeError):
    """The run was refused a moment ago, with exit code 2, and nothing has changed; one line."""


class SpentBefore(RuntimeError):
    """The same with exit code 3."""


class Refusal:
    """What a run was refused for, in its internal folder.

    Args:
        internal: the folder.
        config: the run's configuration, with all that may change within a run.
        data: names the state of the private files.
        now: the time in seconds, as `time.time`.
    """

    def __init__(
        self, internal: Path, config: Config, data: Callable[[], str], now: Callable[[], float] = time.time
    ) -> None:
        self._path = internal / REFUSED_FILE
        self._config, self._data, self._now = config, data, now

    def check(self) -> None:
        """Tell a refusal again that still stands.

        Raises:
            RefusedBefore, SpentBefore: it does; one line with what to do.
        """
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
            age_s, line, code = self._now() - known["time"], str(known["line"]), known["code"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        if not 0 <= age_s < STANDS_S or known.get("of") != self._of():
            return
        raise (SpentBefore if code == BUDGET else RefusedBefore)(
            f"refused {age_s / 60:.0f} min ago, and neither settings nor data have changed: {line}; if that is put "
            f"right, delete {self._path}, or wait {(STANDS_S - age_s) / 60:.0f} min"
        )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within, an error with exit code 2 or 3 is written down; what goes well forgets an earlier one."""
        of = self._of()  # of the data as they are now: the refusal may be that they have changed since
        try:
            yield
        except Exception as error:
            # The ledger is asked anew by each attempt, before any worker is.
            if exit_code(error) in (USAGE, BUDGET) and not isinstance(error, BudgetRefused):
                document = {
                    "time": self._now(),
                    "code": exit_code(error),
                    "line": " ".join(one_line(error).split()),
                    "of": of,
                }
                write_atomic(self._path, json.dumps(document, indent=1) + "\n", mode=0o600)
            raise
        self._path.unlink(missing_ok=True)

    def _of(self) -> str:
        """Names all that the refusal may have been about, as far as it can be seen from here."""
        try:
            data = self._data()
        except Exception:  # noqa: BLE001 what can't be listed is as it was only if it still can't be
            data = "unlisted"
        settings = json.dumps(resolved(self._config), sort_keys=True)
        return hashlib.sha256(f"{__version__}\n{settings}\n{data}".encode()).hexdigest()

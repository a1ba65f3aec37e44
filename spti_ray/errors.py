"""The exit code and the one line that each error becomes.

Errors are recognised by the names of their class and its bases, so that nothing needs to import Ray, vLLM or the gate
here. Only errors of our own show their text: their messages are known to be free of private content.
"""

from __future__ import annotations

import errno

USAGE, BUDGET, RESOURCES, FAILED = 2, 3, 4, 1

INTERRUPTED = "interrupted; run the same command again to go on"

_CODES = {
    "ConfigError": USAGE,
    "DataError": USAGE,
    "BudgetRefused": BUDGET,
    "SlotsExhausted": BUDGET,
    "BudgetExhausted": BUDGET,
    "LedgerElsewhere": BUDGET,
    "ResourcesNeverArrived": RESOURCES,
    "RayUnavailable": RESOURCES,
    "RefusedBefore": USAGE,
    "SpentBefore": BUDGET,
    "NotRegistered": USAGE,
    "NotRegistrable": USAGE,
    "NoSuchLedger": USAGE,
    "HoldoutFixed": USAGE,
    "NotSubmitted": USAGE,
    "NotFollowed": FAILED,
    "NotExported": USAGE,
    "NotPushed": FAILED,
    "NotVerified": FAILED,
    "ManifestDamaged": FAILED,
    "FiltersUnreadable": FAILED,
    "LedgerError": FAILED,
    "FencedOut": FAILED,
    "GateError": FAILED,
    "ArtifactError": FAILED,
    "DiskFull": FAILED,
    "EngineFailed": FAILED,
    "EvaluationFailed": FAILED,
    "MeasurementFailed": FAILED,
    "ShardFailed": FAILED,
    "ModelMissing": FAILED,
    "ModelNotFound": USAGE,
    "FinetuneFailed": FAILED,
    "UnfitPipeline": USAGE,
    "DriverLost": FAILED,
    "EndedElsewhere": FAILED,
    "RunDamaged": FAILED,
    "NothingMade": FAILED,
    "PartialRelease": FAILED,
    "SigningFailed": FAILED,
}

_OF_RAY = {
    "RuntimeEnvSetupError": (
        RESOURCES,
        "Ray could not make the runtime environment of this job on a node (RuntimeEnvSetupError); check its "
        "working_dir, pip and env_vars; runtime_env_setup-*.log in that node's Ray logs says why",
    ),
}
"""Errors of Ray, each with its exit code and a line of ours. Ray's own text is not shown: it repeats the environment's
settings, and keys of package indexes."""


class RunDamaged(RuntimeError):
    """A run folder lacks something that it must have; the message says which file, and what to do."""


class ResourcesNeverArrived(RuntimeError):
    """The cluster did not offer what a run needs within `runtime.placement_timeout_s`; one line."""


class RayUnavailable(RuntimeError):
    """Ray could not be started or joined; one line with what Ray said, which by then has seen nothing private."""


class EndedElsewhere(RuntimeError):
    """The end of a run in another process than the one that tells of it: one line, and its exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


class NothingMade(RuntimeError):
    """An engine made nothing that can be used; the message is public and says which engine."""


def _known(error: BaseException) -> str | None:
    return next((base.__name__ for base in type(error).__mro__ if base.__name__ in _CODES), None)


def _of_ray(error: BaseException) -> tuple[int, str] | None:
    bases = (base for base in type(error).__mro__ if base.__module__.partition(".")[0] == "ray")
    return next((_OF_RAY[base.__name__] for base in bases if base.__name__ in _OF_RAY), None)


def is_known(error: BaseException) -> bool:
    """Whether `one_line` says what is wrong: the error is one of ours, of Ray or of the file system."""
    return bool(_known(error) or _of_ray(error)) or (isinstance(error, OSError) and bool(error.strerror))


def exit_code(error: BaseException) -> int:
    """The exit code of the `spti` command for an error; 1 for any unknown one."""
    if isinstance(error, EndedElsewhere):
        return error.code
    if known := _known(error):
        return _CODES[known]
    return found[0] if (found := _of_ray(error)) else FAILED


def one_line(error: BaseException) -> str:
    """One line for the user. The text of unknown errors is not shown: it may hold private content."""
    if _known(error):
        return str(error)
    if found := _of_ray(error):
        return found[1]
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{where}no space left on the disk; free some space and run the same command again"
        return f"{where}{error.strerror}"
    return f"unexpected {type(error).__name__}; set SPTI_DEBUG=1 to see where (may show private paths)"

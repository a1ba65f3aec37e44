"""Which exit code and which single line each error becomes.

Matched by class name along the error's bases, so that deciding needs no import of Ray, vLLM or the gate.
Only errors of our own, whose messages are known to be free of private content, show their text.
"""

from __future__ import annotations

USAGE, BUDGET, RESOURCES, FAILED = 2, 3, 4, 1

_CODES = {
    "ConfigError": USAGE,
    "DataError": USAGE,
    "BudgetRefused": BUDGET,
    "SlotsExhausted": BUDGET,
    "BudgetExhausted": BUDGET,
    "LedgerElsewhere": BUDGET,
    "ResourcesNeverArrived": RESOURCES,
    "RayUnavailable": RESOURCES,
    "NotRegistered": USAGE,
    "NotRegistrable": USAGE,
    "NoSuchLedger": USAGE,
    "NotSubmitted": USAGE,
    "NotExported": USAGE,
    "NotPushed": FAILED,
    "NotVerified": FAILED,
    "ManifestDamaged": FAILED,
    "LedgerError": FAILED,
    "FencedOut": FAILED,
    "GateError": FAILED,
    "ArtifactError": FAILED,
    "DiskFull": FAILED,
    "EngineFailed": FAILED,
    "EvaluationFailed": FAILED,
    "ShardFailed": FAILED,
    "ModelMissing": FAILED,
    "FinetuneFailed": FAILED,
    "UnfitPipeline": USAGE,
    "RunDamaged": FAILED,
    "NothingMade": FAILED,
    "PartialRelease": FAILED,
}

_OF_RAY = {
    "RuntimeEnvSetupError": (
        RESOURCES,
        "Ray could not make the runtime environment of this job on a node (RuntimeEnvSetupError); check its "
        "working_dir, pip and env_vars; runtime_env_setup-*.log in that node's Ray logs says why",
    ),
}
"""Errors of Ray's own, each with its exit code and line. Its text is not shown: it repeats the environment's settings,
and keys of package indexes."""


class RunDamaged(RuntimeError):
    """A run folder lacks something that it must have; says which file and what to do."""


class RayUnavailable(RuntimeError):
    """Ray could not be started or joined; one line with what Ray said, which has seen nothing private by then."""


class NothingMade(RuntimeError):
    """The engines made nothing that can be used; the message is public and says which one."""


def _known(error: BaseException) -> str | None:
    return next((base.__name__ for base in type(error).__mro__ if base.__name__ in _CODES), None)


def _of_ray(error: BaseException) -> tuple[int, str] | None:
    bases = (base for base in type(error).__mro__ if base.__module__.partition(".")[0] == "ray")
    return next((_OF_RAY[base.__name__] for base in bases if base.__name__ in _OF_RAY), None)


def is_known(error: BaseException) -> bool:
    """Whether it is one of ours, of Ray's, or of the file system: `one_line` then says what is wrong."""
    return bool(_known(error) or _of_ray(error)) or (isinstance(error, OSError) and bool(error.strerror))


def exit_code(error: BaseException) -> int:
    """The exit code of an error; 1 for anything unknown."""
    if known := _known(error):
        return _CODES[known]
    return found[0] if (found := _of_ray(error)) else FAILED


def one_line(error: BaseException) -> str:
    """One line for the user. Text of unknown errors is not shown: it may come from anywhere."""
    if _known(error):
        return str(error)
    if found := _of_ray(error):
        return found[1]
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return f"{where}{error.strerror}"
    return f"unexpected {type(error).__name__}; set SPTI_DEBUG=1 to see where (may show private paths)"

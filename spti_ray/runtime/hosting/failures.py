"""What is told of an engine that failed: all of one that has seen nothing private, and else the type of the error."""

from __future__ import annotations

import re
import traceback


def start_failure(error: BaseException) -> str:
    """One line about an engine that could not be had. It has seen nothing private by then."""
    return in_own_words(" ".join(traceback.format_exception_only(error)[-1].split()))[:500]


def in_own_words(line: str) -> str:
    """The last line of a traceback; of an error of ours without its class: its text is written for users."""
    return re.sub(r"^spti_ray(\.\w+)+: ", "", line)


class PrivateCallFailed(RuntimeError):
    """An engine failed on private input; says which role and the type of the error, and nothing else."""


class PublicCallFailed(RuntimeError):
    """An engine that has public input alone failed; one line with the type and the text of its error.

    Raised by hosts without `run_private` only, so that nothing that an engine says of private input comes by this way.
    """

    @classmethod
    def of(cls, error: Exception) -> PublicCallFailed:
        text = " ".join(str(error).split())[:300]
        return cls(f"{type(error).__name__}: {text}" if text else type(error).__name__)

# pyright: strict
"""Safe errors: no exception of the private side carries private content, nor do the exceptions attached to it.

A library's exception may quote its input, and Ray keeps its text (and that of its causes, context and notes) in the
control store, in event files and in what it prints at the driver. So every exception that leaves a private method is
replaced by a safe one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from spti_ray.models.protocols import EngineDead
from spti_ray.private.kinds import DataError
from spti_ray.private.views import VotingError

P = ParamSpec("P")
R = TypeVar("R")


class ShardError(RuntimeError):
    """A shard could not do its work; names the shard, the step and the type of the error, and nothing else."""


class HasShardId(Protocol):
    """An object that does the work of one shard."""

    @property
    def shard_id(self) -> int:
        """The shard's number, for error texts."""
        ...


S = TypeVar("S", bound=HasShardId)

PUBLIC_ERRORS: tuple[type[Exception], ...] = (DataError, ShardError, VotingError, EngineDead)
"""Errors whose text is public: it holds settings, the configured path, shard numbers and steps only."""


def safe_errors(
    step: str, also: tuple[type[Exception], ...] = ()
) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Decorate a method of a shard so that only exceptions without private content leave it, with none attached.

    PUBLIC_ERRORS (except for an engine's own `EngineDead`) and the types in `also` keep their text. Everything else
    becomes a `ShardError` with the type's name: also SystemExit, whose text Ray would make the process' exit code, and
    exceptions that are no `Exception`, such as a panic of a Rust library.

    Args:
        step: what the method does, for error texts: "voting".
        also: more types of errors whose text is public.
    """

    def decorate(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @functools.wraps(method)
        def wrapped(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            failure: BaseException
            try:
                return method(self, *args, **kwargs)
            except EngineDead:
                failure = EngineDead(f"shard {self.shard_id}: the engine died while {step}")
            except (DataError, ShardError, VotingError, *also) as error:
                failure = type(error)(*error.args)
            except KeyboardInterrupt:
                failure = KeyboardInterrupt()
            except BaseException as error:  # noqa: BLE001 any text may be private
                failure = ShardError(f"shard {self.shard_id}: {step} failed ({type(error).__name__})")
            # Raised after the handler: inside it, the private exception would become the __context__.
            raise failure

        return wrapped

    return decorate

# pyright: strict
"""Exceptions of the private side, without anything private in them or behind them.

An exception of a library may quote its input, and Ray keeps the text of one (and of its causes, context and notes) in
the control store, in event files and in what it prints at the driver. So none leaves a private method as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from spti_ray.models.protocols import EngineDead
from spti_ray.private.source import DataError
from spti_ray.private.voting import VotingError

P = ParamSpec("P")
R = TypeVar("R")


class ShardError(RuntimeError):
    """A shard could not do its work; says which shard, which step and the type of the error, and nothing else."""


class HasShardId(Protocol):
    """Whatever does the work of one shard."""

    @property
    def shard_id(self) -> int: ...


S = TypeVar("S", bound=HasShardId)

PUBLIC_ERRORS: tuple[type[Exception], ...] = (DataError, ShardError, VotingError, EngineDead)
"""Errors whose text is known to be public: settings, the configured path, shard numbers and steps."""


def safe_errors(
    step: str, also: tuple[type[Exception], ...] = ()
) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Let only content-free exceptions out of a method of a shard, with no other exception attached to them.

    Of SPEAKING types, except for an engine's own `EngineDead`, and of those in `also` the text is kept. Everything else
    becomes a `ShardError` with the type's name: also SystemExit, whose text Ray would make the process' exit code, and
    exceptions that are no `Exception`, such as a panic of a Rust library.
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
            except BaseException as error:  # noqa: BLE001 whatever it is, its text may be private
                failure = ShardError(f"shard {self.shard_id}: {step} failed ({type(error).__name__})")
            # Raised here, after the handler: inside, the private exception would become its __context__.
            raise failure

        return wrapped

    return decorate

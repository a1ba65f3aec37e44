"""A token of its own for each local Ray: in the environment of this process and of what it starts, and nowhere else.

By itself Ray would turn authentication on and write a token to ~/.ray/auth_token. That fails where HOME can't be
written, and it outlives the run: a plain `ray start` on the machine then asks its clients for that token.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import _raylet

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@contextmanager
def own_token() -> Iterator[str]:
    """Authentication with a fresh token, for a Ray that starts and ends inside. The environment is put back afterwards.

    Yields the token; "" where the user turned authentication off (`RAY_AUTH_MODE` is set, and not to `token`).
    """
    if os.environ.get(MODE, "token").lower() != "token":
        yield ""
        return
    before = {name: os.environ.get(name) for name in (MODE, TOKEN, TOKEN_PATH)}
    token = secrets.token_hex(32)
    _set({MODE: "token", TOKEN: token, TOKEN_PATH: None})
    try:
        yield token
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    # In this order: a thread of Ray's that still sends must not look for a token after the last one is forgotten.
    compiled: Any = _raylet
    compiled.Config.initialize("")
    compiled.AuthenticationTokenLoader.instance().reset_cache()

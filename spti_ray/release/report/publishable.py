"""What readers of a release see of its configuration: what was computed, not where, and without secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_HIDDEN = "(not shown)"
_PLACES = {("data", "path"), ("runtime", "address"), ("origin", "path")} | {
    ("release", "provenance", name) for name in ("certificate", "key_file", "key_env")
}
_SECRET_WORDS = ("key", "token", "secret", "password", "credential", "authorization")


def publishable(config: Any, path: Sequence[str] = ()) -> Any:
    """The configuration, with its private places and secrets hidden. `path`: where in it this part is."""
    if isinstance(config, dict):
        return {key: publishable(value, (*path, str(key))) for key, value in config.items()}
    if isinstance(config, list):
        return [publishable(value, path) for value in config]
    where = tuple(path)
    local = where[:1] == ("ledger",) or where in _PLACES
    secret = "options" in where and any(word in where[-1].lower() for word in _SECRET_WORDS) and isinstance(config, str)
    if config is None or not (local or secret) or str(config).startswith("bundled:"):
        return config
    return _HIDDEN

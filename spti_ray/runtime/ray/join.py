"""Joins a Ray cluster that is there, or says within half a minute that none answers."""

from __future__ import annotations

import re
from typing import Any

import grpc
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray._private.ray_constants import GLOBAL_GRPC_OPTIONS
from ray.exceptions import AuthenticationError

from spti_ray.errors import RayUnavailable
from spti_ray.io.urls import redacted_address
from spti_ray.runtime.ray.signals import handlers_kept
from spti_ray.runtime.ray.start import in_short, tell

_ANSWERS_WITHIN_S = 20.0
"""After which an address counts as unreachable. A head that has just been started may need some of it."""


def join(address: str, **settings: Any) -> None:
    """`ray.init` of a cluster that is there. Raises RayUnavailable in one line that names the address."""
    check_address(address)
    shown = redacted_address(address)
    secret = "" if shown == address else address
    try:
        with handlers_kept():
            ray.init(address=address, **settings)
    except AuthenticationError as error:
        tell(1, error, secret)
        raise RayUnavailable(
            f"{shown} wants another token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH)"
        ) from None
    except Exception as error:  # noqa: BLE001 Ray has no class of its own for most of these
        tell(1, error, secret)
        raise RayUnavailable(
            f"{shown}: could not join Ray there: {in_short(error, secret)}; check runtime.address and RAY_ADDRESS"
        ) from None


def check_address(address: str) -> None:
    """Refuse an address at which no Ray answers, within 20 s. Raises RayUnavailable in one line that names it."""
    shown, scheme = redacted_address(address), address.partition("://")[0] if "://" in address else ""
    if scheme in ("http", "https"):
        raise RayUnavailable(
            f"{shown} is the address of a dashboard, which `spti submit --address` takes; set runtime.address or "
            "RAY_ADDRESS to HOST:6379, ray://HOST:10001 or auto"
        )
    target = address.removeprefix("ray://")
    if scheme not in ("", "ray") or not re.search(r":\d+$", target):
        return  # `auto`, or a scheme of somebody else's: Ray knows, and says so at once
    channel: Any = init_grpc_channel(target, GLOBAL_GRPC_OPTIONS)
    try:
        grpc.channel_ready_future(channel).result(timeout=_ANSWERS_WITHIN_S)
    except grpc.FutureTimeoutError:
        raise RayUnavailable(
            f"{shown}: no Ray answers there within {_ANSWERS_WITHIN_S:g} s; check runtime.address and RAY_ADDRESS, and "
            "that the head node is up and can be reached from here"
        ) from None
    finally:
        channel.close()

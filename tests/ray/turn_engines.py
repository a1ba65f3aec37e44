"""SIMULATED engines that hold one device, a file, and end if another process holds it; each also dies once at work."""

from __future__ import annotations

import os
from pathlib import Path

from spti_ray.config import EngineConfig
from spti_ray.models import fakes

CRASHES_AT = 2
"""The call, of all calls of a role, at which its process dies."""


class _Device:
    """`folder/device` holds the process id of who has it, `folder/log` what happened."""

    def __init__(self, role: str, config: EngineConfig) -> None:
        self._role, self._folder = role, Path(config.options["folder"])
        self.take("load")

    def take(self, how: str) -> None:
        holder = self._folder / "device"
        if holder.exists() and Path(f"/proc/{holder.read_text()}").exists():
            self.note("OVERLAP")
        holder.write_text(str(os.getpid()))
        self.note(how)

    def free(self) -> None:
        self.use("sleep")
        (self._folder / "device").unlink()

    def use(self, what: str) -> None:
        if (self._folder / "device").read_text() != str(os.getpid()):
            self.note("NOT MINE")
        self.note(what)
        calls = [line for line in (self._folder / "log").read_text().splitlines() if line == f"{self._role} call"]
        if what == "call" and len(calls) == CRASHES_AT:
            self.note("crash")
            os._exit(9)

    def note(self, what: str) -> None:
        with (self._folder / "log").open("a") as log:
            log.write(f"{self._role} {what}\n")


class Writer(fakes.FakeWriter):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config.model_copy(update={"options": {}}))
        self._device = _Device("writer", config)

    async def write(self, requests):
        self._device.use("call")
        return await super().write(requests)

    async def sleep(self) -> None:
        self._device.free()

    async def wake(self) -> None:
        self._device.take("wake")


class Renderer(fakes.FakeRenderer):
    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config.model_copy(update={"options": {}}))
        self._device = _Device("renderer", config)

    def render(self, texts, seeds):
        self._device.use("call")
        return super().render(texts, seeds)

    def sleep(self) -> None:
        self._device.free()

    def wake(self) -> None:
        self._device.take("wake")

"""Serves the page of one run to the browser of the person at this machine, and to nobody else.

It listens on the loopback address alone. Each path begins with a token that is in no log, so that other users of the
machine find nothing; the Host header must name this machine, so that no page of another site can ask through a name
that resolves to it (DNS rebinding). Nothing can be changed through it.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from signal import SIGINT, SIGTERM

from aiohttp import web

from spti_ray.dp.chain import LedgerError
from spti_ray.errors import RunDamaged
from spti_ray.public.release import MANIFEST
from spti_ray.public.released_files import ManifestDamaged, read_manifest
from spti_ray.show.owners_pages import list_of_pages, owners_page
from spti_ray.show.page import RunPage

ADDRESS = "127.0.0.1"
_HOSTS = ("127.0.0.1", "localhost")
_DOCUMENTS = ("manifest.parquet", "metadata.jsonl", "privacy.json", "datasheet.md")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(folder: Path, token: str, internal: bool = False) -> web.Application:
    """The server of a run's page.

    Args:
        folder: the run's folder.
        token: with which every path begins.
        internal: whether the pages for the owner of the private images are served, too.

    Raises:
        ConfigError: the folder holds no run.
    """
    page, lock, released = RunPage(folder), asyncio.Lock(), _Released()

    @web.middleware
    async def guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
        # The port may be another one, where it is forwarded through SSH. A path need not begin with a slash.
        host, given = request.host.split(":")[0].lower(), request.path.removeprefix("/").split("/")[0]
        if host not in _HOSTS or not hmac.compare_digest(given.encode(), token.encode()):
            response: web.StreamResponse = web.Response(status=404, text="nothing here\n")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=f"{error.reason}\n")
                if where := error.headers.get("Location"):
                    response.headers["Location"] = where
        response.headers.update(_HEADERS)
        return response

    async def show(request: web.Request) -> web.Response:
        async with lock:  # a page is made once, however many tabs are open
            try:
                html = await asyncio.to_thread(page.html)
            except (RunDamaged, LedgerError) as error:
                return web.Response(status=500, text=f"{error}\n")
        return web.Response(text=html, content_type="text/html")

    async def document(request: web.Request) -> web.StreamResponse:
        return _file(page.release, request.match_info["name"] if request.match_info["name"] in _DOCUMENTS else "")

    async def image(request: web.Request) -> web.StreamResponse:
        name = f"images/{request.match_info['name']}"
        return _file(page.release, name if name in await asyncio.to_thread(released, page.release) else "")

    async def owners(request: web.Request) -> web.Response:
        name = request.match_info.get("name")
        html = list_of_pages(folder) if name is None else owners_page(folder, name)
        if html is None:
            raise web.HTTPNotFound
        return web.Response(text=html, content_type="text/html")

    async def slash(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"/{token}/")

    app = web.Application(middlewares=[guarded])
    app.router.add_get(f"/{token}/", show)
    app.router.add_get(f"/{token}/images/{{name}}", image)
    if internal:
        app.router.add_get(f"/{token}/internal/", owners)
        app.router.add_get(f"/{token}/internal/{{name}}", owners)
    app.router.add_get(f"/{token}/{{name}}", document)
    app.router.add_get(f"/{token}", slash)
    return app


class _Released:
    """The images of a release by its manifest, which is read again only where it was written again."""

    def __init__(self) -> None:
        self._read: tuple[object, frozenset[str]] = (None, frozenset())

    def __call__(self, release: Path | None) -> frozenset[str]:
        """Their names in the folder of the release; none where there is no release."""
        if release is None:
            return frozenset()
        try:
            about = (release / MANIFEST).stat()
            version = (str(release), about.st_ino, about.st_mtime_ns)
            if self._read[0] != version:
                self._read = version, frozenset(read_manifest(release, ["file"])["file"].to_pylist())
        except (ManifestDamaged, OSError):
            return frozenset()
        return self._read[1]


def _file(release: Path | None, name: str) -> web.FileResponse:
    if release is None or not name or not (release / name).is_file():
        raise web.HTTPNotFound
    return web.FileResponse(release / name)


def serve(folder: Path, port: int, internal: bool, started: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        folder: the run's folder.
        port: to listen on; 0: any that is free.
        internal: see `application`.
        started: is given the address of the page, with its token.

    Raises:
        ConfigError: the folder holds no run.
        OSError: the port is taken.
    """
    token = secrets.token_urlsafe(24)
    app = application(folder, token, internal)

    async def run() -> None:
        # What is malformed is answered before `guarded` sees it, and aiohttp would log it, token and all.
        logging.getLogger("aiohttp").setLevel(logging.CRITICAL + 1)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, ADDRESS, port)
            await site.start()
            taken: int = runner.addresses[0][1]
            started(f"http://{ADDRESS}:{taken}/{token}/")
            ended = asyncio.Event()
            for signal in (SIGINT, SIGTERM):
                # Also where SIGINT is ignored, as of what a shell starts in the background.
                asyncio.get_running_loop().add_signal_handler(signal, ended.set)
            await ended.wait()
        finally:
            await runner.cleanup()

    asyncio.run(run())

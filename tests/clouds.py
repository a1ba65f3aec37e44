"""Emulators of other stores than S3, for tests: Google's in a thread, Azure's (Azurite, by npm) in a process."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import closing, contextmanager

AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of Azurite's only account: published, and the same everywhere."""


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def gcs_server() -> Generator[str]:
    from gcp_storage_emulator.server import create_server

    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    yield f"gs://anonymous@bucket/data?scheme=http&endpoint_override=127.0.0.1:{port}"
    server.stop()


@contextmanager
def azure_server() -> Generator[tuple[str, dict[str, str]]]:
    port = free_port()
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    process = subprocess.Popen(["azurite-blob", *options, "--blobPort", str(port)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with closing(socket.socket()) as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield (
            "az://container/data",
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
                "AZURE_STORAGE_ACCOUNT_KEY": AZURITE_KEY,
                "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}",
            },
        )
    finally:
        process.kill()
        process.wait()

"""Pages for the owner of the private images alone: an HTML file each, in an internal folder, without network or script.

A template in this folder says what is on a page; all of them begin with the statement of what it must not be used for.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2

from spti_ray.io.files import private_folder, write_atomic


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write a page that only its owner may read, into a folder that only the owner may enter.

    Args:
        path: of the file; its folder is closed to others.
        template: name of a template of this folder.
        values: what it shows. Everything is escaped.

    Raises:
        DiskFull: no space left; nothing changed.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}" if isinstance(value, int) else value
    private_folder(path.parent)
    write_atomic(path, environment.get_template(template).render(**values), mode=0o600)


def data_uri(image: bytes, kind: str = "jpeg") -> str:
    """An encoded image as a page shows it."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"

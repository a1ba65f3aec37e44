"""Pages for the owner of the private images alone: internal HTML files, without network or script.

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
        template, values: see `internal_page`.

    Raises:
        DiskFull: no space left; nothing changed.
    """
    private_folder(path.parent)
    write_atomic(path, internal_page(template, **values), mode=0o600)


def internal_page(template: str, **values: Any) -> str:
    """A page as HTML.

    Args:
        template: name of a template of this folder.
        values: what it shows. Everything is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}" if isinstance(value, int) else value
    return environment.get_template(template).render(**values)


def data_uri(image: bytes, kind: str = "jpeg") -> str:
    """An encoded image as a page shows it."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"

"""The pages that `spti check` and `spti evaluate` wrote for the owner of the private images.

That they were made is recorded as a look; to open one again says nothing new.
"""

from __future__ import annotations

from pathlib import Path

from spti_ray.internal_pages import internal_page


def list_of_pages(folder: Path) -> str:
    """A page, marked as internal, with a link to each of those of the run in `folder`."""
    return internal_page("pages.html.j2", names=sorted(_pages(folder)))


def owners_page(folder: Path, name: str) -> str | None:
    """One of them, by the name of its file; None if there is none by that name."""
    path = _pages(folder).get(name)
    return path.read_text(encoding="utf-8") if path else None


def _pages(folder: Path) -> dict[str, Path]:
    internal = folder / "internal"
    return {path.name: path for path in (*internal.glob("*.html"), *internal.glob("evaluation/*.html"))}

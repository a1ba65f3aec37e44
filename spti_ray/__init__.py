"""spti-ray: differentially private synthetic images by private votes on public texts (SPTI, arXiv 2506.07555)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spti_ray.api import Release, run

__version__ = "0.1.0"
__all__ = ["Release", "__version__", "run"]


def __getattr__(name: str) -> Any:
    """`run` and `Release`, when they are asked for: whatever else imports the package loads no configuration."""
    if name in ("Release", "run"):
        from spti_ray import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

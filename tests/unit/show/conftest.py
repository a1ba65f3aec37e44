"""Small runs on local processes."""

from tests.unit.runtime.local.conftest import configured, images, kept, local

__all__ = ["configured", "images", "kept", "local"]

"""A renderer behind an OpenAI-compatible images endpoint (`/images/generations`)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from spti_ray.config import EngineConfig
from spti_ray.models.endpoint import SEED_LIMIT, ContentRefused, Endpoint, gather_or_cancel
from spti_ray.models.endpoint_options import OpenAIRendererOptions
from spti_ray.types import ImageArray


class OpenAIRenderer:
    """Sends one request for each image, with its seed, which OpenAI's own endpoint does not take (`leave_out: [seed]`).

    The endpoint decides whether a repeated request gives the same image. This renderer can't vary images.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = OpenAIRendererOptions.model_validate(config.options)
        self._endpoint = Endpoint(self._options)
        self._runner = asyncio.Runner()

    def identity(self) -> dict[str, str]:
        return {"kind": self.config.kind, "model": self.config.model, "revision": self.config.revision or "as served"}

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray | None]:
        """Return one HWC uint8 RGB image per text; None for one that the endpoint does not give.

        Raises:
            RuntimeError: the endpoint failed all of them, and not because of what they say.
        """
        images = self._runner.run(
            gather_or_cancel(self._tried(text, seed) for text, seed in zip(texts, seeds, strict=True))
        )
        other = [image for image in images if isinstance(image, RuntimeError) and not isinstance(image, ContentRefused)]
        if other and all(isinstance(image, RuntimeError) for image in images):
            raise other[0]
        return [None if isinstance(image, RuntimeError) else image for image in images]

    async def _tried(self, text: str, seed: int) -> ImageArray | RuntimeError:
        try:
            return await self._one(text, seed)
        except RuntimeError as failure:
            return failure

    async def _one(self, text: str, seed: int) -> ImageArray:
        options = self._options
        known = self._endpoint.request_body(
            model=self.config.model,
            prompt=text,
            n=1,
            size=f"{options.width}x{options.height}",
            response_format="b64_json",
            extra_body={} if "seed" in options.leave_out else {"seed": seed % SEED_LIMIT},
        )
        answer = await self._endpoint.send(lambda client: client.images.generate(**known))
        encoded = answer.data[0].b64_json if answer.data else None
        if not encoded:
            raise RuntimeError(f"{options.base_url} gave no image (b64_json), as a link to one is not followed")
        image = _decoded(encoded, options.base_url)
        if image.shape != (options.height, options.width, 3):
            raise RuntimeError(
                f"{options.base_url} gave {image.shape[1]}x{image.shape[0]} pixels where {options.width}x"
                f"{options.height} were asked for: correct options.width and height"
            )
        return image


def _decoded(encoded: str, where: str) -> ImageArray:
    """Decode a base64-encoded image to HWC uint8 RGB. RuntimeError if it is none."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            return np.array(image.convert("RGB"))
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError):
        raise RuntimeError(f"{where} gave what is no image") from None

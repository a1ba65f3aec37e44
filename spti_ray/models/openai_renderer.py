"""A renderer behind an OpenAI-compatible images endpoint: `/images/generations`, and `/images/edits` to vary images."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from spti_ray.config import EngineConfig
from spti_ray.models.endpoint import SEED_LIMIT, ContentRefused, Endpoint, gather_or_cancel
from spti_ray.models.endpoint_options import OpenAIRendererOptions
from spti_ray.models.pixels import to_png
from spti_ray.types import ImageArray


class OpenAIRenderer:
    """Sends one request for each image, with its seed, which OpenAI's own endpoint does not take (`leave_out: [seed]`).

    The endpoint decides whether a repeated request gives the same image. It varies images where `/images/edits` takes a
    `strength` (`edits`), which is vLLM-Omni's extension of OpenAI's protocol.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = OpenAIRendererOptions.model_validate(config.options)
        self._endpoint = Endpoint(self._options)
        self._runner = asyncio.Runner()
        self._heeds_strength = False

    def identity(self) -> dict[str, str]:
        return {"kind": self.config.kind, "model": self.config.model, "revision": self.config.revision or "as served"}

    def render(self, texts: Sequence[str], seeds: Sequence[int]) -> list[ImageArray | None]:
        """Return one HWC uint8 RGB image per text; None for one that the endpoint does not give.

        Raises:
            RuntimeError: the endpoint failed all of them, and not because of what they say.
        """
        return self._all(self._generated(text, seed) for text, seed in zip(texts, seeds, strict=True))

    def vary(
        self, images: Sequence[ImageArray], texts: Sequence[str], seeds: Sequence[int], strength: float
    ) -> list[ImageArray | None]:
        """Have one variation made of each image; None for one that the endpoint does not give.

        Args:
            images: HWC uint8 RGB, of the size of the options.
            texts: One text for each image.
            seeds: One seed for each image.
            strength: In (0, 1]: how far a variation may be from its image.

        Raises:
            ValueError: the endpoint does not heed the strength, in one line.
            RuntimeError: it failed all of them, and not because of what they say.
        """
        if images and not self._heeds_strength:
            self._must_heed_strength(images[0], texts[0])
        jobs = zip(images, texts, seeds, strict=True)
        return self._all(self._edited(image, text, seed, strength) for image, text, seed in jobs)

    def _must_heed_strength(self, image: ImageArray, text: str) -> None:
        """Two strengths must give two images: servers leave out fields that they do not know, without a word."""
        little, much = self._all(self._edited(image, text, 0, strength) for strength in (0.3, 1.0))
        if little is None or much is None:
            return  # Refused for what the text says: the next call tries again.
        if np.array_equal(little, much):
            raise ValueError(
                f"{self._options.base_url} gives the same image at every strength: /images/edits, or the model that "
                "it serves, does not heed the field, which method: pe-image varies images by"
            )
        self._heeds_strength = True

    def _all(self, requests: Iterable[Coroutine[Any, Any, ImageArray]]) -> list[ImageArray | None]:
        """The image of each request. RuntimeError if all failed, and not because of what they say."""
        images = self._runner.run(gather_or_cancel(_tried(request) for request in requests))
        other = [image for image in images if isinstance(image, RuntimeError) and not isinstance(image, ContentRefused)]
        if other and all(isinstance(image, RuntimeError) for image in images):
            raise other[0]
        return [None if isinstance(image, RuntimeError) else image for image in images]

    async def _generated(self, text: str, seed: int) -> ImageArray:
        known = self._body(text, seed, {})
        return self._image_in(await self._endpoint.send(lambda client: client.images.generate(**known)))

    async def _edited(self, image: ImageArray, text: str, seed: int, strength: float) -> ImageArray:
        known, png = self._body(text, seed, {"strength": strength}), ("image.png", to_png(image), "image/png")
        return self._image_in(await self._endpoint.send(lambda client: client.images.edit(image=png, **known)))

    def _body(self, text: str, seed: int, more: dict[str, Any]) -> dict[str, Any]:
        options = self._options
        return self._endpoint.request_body(
            model=self.config.model,
            prompt=text,
            n=1,
            size=f"{options.width}x{options.height}",
            response_format="b64_json",
            extra_body=more | ({} if "seed" in options.leave_out else {"seed": seed % SEED_LIMIT}),
        )

    def _image_in(self, answer: Any) -> ImageArray:
        options = self._options
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


async def _tried(request: Coroutine[Any, Any, ImageArray]) -> ImageArray | RuntimeError:
    try:
        return await request
    except RuntimeError as failure:
        return failure


def _decoded(encoded: str, where: str) -> ImageArray:
    """Decode a base64-encoded image to HWC uint8 RGB. RuntimeError if it is none."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            return np.array(image.convert("RGB"))
    except (binascii.Error, OSError, ValueError, Image.DecompressionBombError):
        raise RuntimeError(f"{where} gave what is no image") from None

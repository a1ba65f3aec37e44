"""A captioner behind an OpenAI-compatible endpoint. Private images leave this process for that endpoint.

No requests are counted: the number of images is as private as the images.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

from spti_ray.config import EngineConfig
from spti_ray.models.answers import caption_text
from spti_ray.models.endpoint import ContentRefused, Endpoint
from spti_ray.models.endpoint_answers import read_answer
from spti_ray.models.endpoint_options import OpenAICaptionerOptions
from spti_ray.models.pixels import shrink_to_side, to_png
from spti_ray.types import ImageArray


class OpenAICaptioner:
    """Sends one request for each image, at temperature 0, so that a caption depends only on its image.

    Requests go directly to the endpoint, without the environment's proxies and without redirects. Only pixels are sent.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = OpenAICaptionerOptions.model_validate(config.options)
        self._endpoint = Endpoint(self._options, direct=True)
        self._runner = asyncio.Runner()

    def identity(self) -> dict[str, str]:
        return {
            "kind": self.config.kind,
            "model": self.config.model,
            "revision": self.config.revision or "as served",
            "endpoint": self._options.base_url,
        }

    def caption(self, images: Sequence[ImageArray]) -> list[str]:
        """Return one caption per HWC uint8 RGB image of any size; "" for one that the endpoint gives no caption of.

        Raises:
            RuntimeError: the endpoint failed one of them for good. Its text may quote the endpoint's.
        """
        return self._runner.run(self._all(images))

    async def _all(self, images: Sequence[ImageArray]) -> list[str]:
        # All are awaited: a task left behind would report its error later, when output is no longer suppressed.
        answers = await asyncio.gather(*(self._one(image) for image in images), return_exceptions=True)
        captions: list[str] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            captions.append(answer)
        return captions

    async def _one(self, image: ImageArray) -> str:
        options = self._options
        url: dict[str, Any] = {
            "url": "data:image/png;base64," + base64.b64encode(to_png(shrink_to_side(image, options.max_side))).decode()
        }
        if options.detail:
            url["detail"] = options.detail
        content = [{"type": "text", "text": options.prompt}, {"type": "image_url", "image_url": url}]
        messages: Any = [{"role": "user", "content": content}]
        body = self._endpoint.request_body(
            model=self.config.model, temperature=0.0, seed=0, max_tokens=options.max_tokens
        )
        try:
            raw = await self._endpoint.send(
                lambda client: client.chat.completions.with_raw_response.create(messages=messages, **body)
            )
            answer = json.loads(raw.content)
        except ContentRefused:
            return ""
        except (ValueError, RecursionError):
            raise RuntimeError(f"{options.base_url} gave an answer that is no JSON") from None
        return caption_text(read_answer(answer, 1).texts[0])

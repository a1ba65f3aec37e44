"""Embeds images by the Inception network of the Fréchet inception distance (FID).

This is the ImageNet classifier of 2015-12-05 that TensorFlow published and with which FID was defined (Heusel et al.,
arXiv 1706.08500). It is read from the TorchScript file that NVIDIA made of it for StyleGAN2-ADA (needs only torch):
nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt. The ImageNet weights of
torchvision or timm are another network. Features are the 2,048 outputs of the last pooling layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from spti_ray.config import EngineConfig
from spti_ray.io.files import sha256_of
from spti_ray.models.batching import device_of, padded_batches
from spti_ray.models.bundled import ModelMissing, ModelNotFound
from spti_ray.models.engine_process import threads_beside
from spti_ray.models.options import InceptionOptions
from spti_ray.types import FloatArray, ImageArray

FILE = "inception-2015-12-05.pt"
_SIDE = 299


class InceptionEmbedder:
    """Embeds images by the network in a file. `model` is the file or its folder; the arithmetic is always float32."""

    def __init__(self, config: EngineConfig):
        self.config = config
        self._options = InceptionOptions.model_validate(config.options)
        path = _checkpoint_file(config.model)
        self._sha256 = sha256_of(path)
        if self._options.sha256 not in (None, self._sha256):
            raise ModelMissing(
                f"{path} is not the Inception of the Fréchet distance: its SHA-256 is {self._sha256}, not "
                f"{self._options.sha256}; download it again, or set image_embedder.options.sha256"
            )
        self._beside = ThreadPoolExecutor(threads_beside(config), "preparing images")
        self._device = device_of(config)
        network: Any = torch.jit.load(str(path), map_location=self._device)
        self._layers = network.eval().layers

    def identity(self) -> dict[str, str]:
        return {
            "kind": self.config.kind,
            "model": _checkpoint_file(self.config.model).name,
            "revision": self._sha256[:12],
        }

    def embed_images(self, images: Sequence[ImageArray]) -> FloatArray:
        """Return L2-normalised [B, 2048] float32 rows, one per HWC uint8 RGB image of any size."""
        return self.embed_prepared(self.prepare_images(images))

    def prepare_images(self, images: Sequence[ImageArray]) -> list[FloatArray]:
        """Resize the images, on several threads."""
        return list(self._beside.map(self._resized, images))

    def embed_prepared(self, prepared: Sequence[FloatArray]) -> FloatArray:
        """The rows of `embed_images`, from what `prepare_images` has made."""
        features_BE = torch.from_numpy(self._features(prepared))
        return torch.nn.functional.normalize(features_BE, dim=-1).numpy()

    def features(self, images: Sequence[ImageArray]) -> FloatArray:
        """Return [B, 2048] float32 rows that are not normalised, as the Fréchet distance takes them."""
        return self._features(self.prepare_images(images))

    @torch.inference_mode()
    def _features(self, resized: Sequence[FloatArray]) -> FloatArray:
        rows: list[FloatArray] = []
        for batch, num_real in padded_batches(resized, self.config.batch_size):
            pixels_BHWC = np.stack(batch)
            pixels_BCHW = torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2).to(self._device)
            # The network was trained on pixels in this range.
            features_BE = self._layers((pixels_BCHW - 128) / 128).flatten(1)
            rows.append(features_BE.float().cpu().numpy()[:num_real])
        return np.concatenate(rows) if rows else np.zeros((0, 2048), np.float32)

    def _resized(self, image: ImageArray) -> FloatArray:
        """Resize to 299 x 299, HWC float32, bicubic and without aliasing (Parmar et al., arXiv 2104.11222)."""
        if self._options.pixels:
            square = (self._options.pixels, self._options.pixels)
            image = np.asarray(ImageOps.fit(Image.fromarray(image), square, Image.Resampling.BICUBIC))
        return _bicubic(image, _SIDE)


def _bicubic(image: ImageArray, side: int) -> FloatArray:
    """Resize each channel in float32, since Pillow's filter for 8-bit images rounds."""
    channels = [Image.fromarray(image[:, :, c].astype(np.float32)) for c in range(3)]
    resized = [np.asarray(channel.resize((side, side), Image.Resampling.BICUBIC)) for channel in channels]
    return np.clip(np.stack(resized, axis=-1), 0, 255)


def _checkpoint_file(model: str) -> Path:
    path = Path(model).expanduser()
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise ModelNotFound(
            f"{path} is not there: download {FILE} from nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/"
            "metrics/ and give its path as image_embedder.model"
        )
    return path

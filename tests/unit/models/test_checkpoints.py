"""Checkpoints of transformers whose weights are stored in one variant alone, as people have them."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, BertModel

from spti_ray.config import EngineConfig
from spti_ray.models.checkpoints import from_any_weights
from spti_ray.models.factory import build_engine
from spti_ray.models.weight_files import variant_of_model
from tests.tiny_models import word_tokenizer
from tests.unit.models.test_judges import clip, images
from tests.unit.models.test_vision_embedder import TEXT, save_clip, save_dinov2, save_siglip

__all__ = ["clip"]

TEXTS = ["a red cat", "a blue dog"]


def store_as_variant(folder, variant="fp16"):
    """In half precision, and under the name of a variant alone."""
    plain = folder / "model.safetensors"
    halves = {name: value.half() if value.is_floating_point() else value for name, value in load_file(plain).items()}
    save_file(halves, folder / f"model.{variant}.safetensors", metadata={"format": "pt"})
    plain.unlink()


@pytest.mark.parametrize("save", [save_clip, save_siglip, save_dinov2])
def test_an_image_embedder_whose_weights_are_in_half_precision_alone_is_loaded(tmp_path, save):
    torch.manual_seed(0)
    save(tmp_path)
    config = EngineConfig(kind="vision", model=str(tmp_path), batch_size=2)
    rows_BE = build_engine("image_embedder", config).embed_images(images(3))
    store_as_variant(tmp_path)
    np.testing.assert_allclose(build_engine("image_embedder", config).embed_images(images(3)), rows_BE, atol=0.01)


def save_sentences(folder):
    BertModel(BertConfig(**TEXT | {"vocab_size": 64}, type_vocab_size=1)).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)


def copy_of(folder):
    def save(target):
        for path in folder.iterdir():
            (target / path.name).write_bytes(path.read_bytes())

    return save


@pytest.mark.parametrize("kind", ["sentence", "clip-text"])
def test_so_is_a_text_embedder(tmp_path, clip, kind):
    torch.manual_seed(0)
    (save_sentences if kind == "sentence" else copy_of(clip))(tmp_path)
    options = {"max_tokens": 6} if kind == "sentence" else {}
    config = EngineConfig(kind=kind, model=str(tmp_path), batch_size=2, options=options)
    rows_BE = build_engine("text_embedder", config).embed_texts(TEXTS)
    store_as_variant(tmp_path)
    np.testing.assert_allclose(build_engine("text_embedder", config).embed_texts(TEXTS), rows_BE, atol=0.01)


def test_a_folder_without_any_weights_is_told_in_the_librarys_words(tmp_path):
    save_dinov2(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match="no file named model.safetensors"):
        from_any_weights(AutoModel, str(tmp_path), torch.float32)


def test_the_variant_of_a_model_is_read_beside_its_configuration_alone():
    assert variant_of_model(["config.json", "model.fp16.safetensors", "onnx/model.safetensors"]) == "fp16"
    assert variant_of_model(["config.json", "model.safetensors", "model.fp16.safetensors"]) is None
    assert variant_of_model(["model.bf16.safetensors", "model.fp16.safetensors"], "fp16") == "fp16"

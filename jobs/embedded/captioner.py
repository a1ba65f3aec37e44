"""The captioner: BLIP, with a vision transformer of its own and a vocabulary of the captions' own words.

    python -m jobs.embedded.captioner --work runs/embedded

It does not start from the image encoder: what judges a run must be another network than what voted in it. A caption is
"a red apple": the colour, unless the name has one, and the name. Besides writing it, the vision tower learns to look
where MiniLM reads, which teaches it faster than words alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from torch import nn
from torch.nn import functional
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

from jobs.embedded.augment import view
from jobs.embedded.command import parser
from jobs.embedded.data import Data, load
from jobs.embedded.drawings import Drawings, some_patches
from jobs.embedded.loop import Recipe, train
from jobs.embedded.saving import finished, image_processor, save
from jobs.embedded.text import Texts, coloured

RECIPE = Recipe(steps=3000, batch=192, rate=1.3e-3, warmup=200, decay=0.05, average=0.999, seed=4)
KEPT = 0.6
"""Part of the patches that the model sees in training."""

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
"""Special tokens, in the order of their ids. [DEC] begins a caption and [SEP] ends it."""

MAX_TOKENS = 16


def config_of(vocabulary: int) -> BlipConfig:
    """The prototype's architecture, with fewer words."""
    size = {"hidden_size": 256, "num_attention_heads": 4, "projection_dim": 256}
    return BlipConfig(
        text_config={
            **size,
            "intermediate_size": 768,
            "num_hidden_layers": 4,
            "encoder_hidden_size": 256,
            "vocab_size": vocabulary,
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.0,
            "bos_token_id": SPECIAL.index("[DEC]"),
            "eos_token_id": SPECIAL.index("[SEP]"),
            "sep_token_id": SPECIAL.index("[SEP]"),
            "pad_token_id": SPECIAL.index("[PAD]"),
            "is_decoder": True,
        },
        vision_config={
            **size,
            "intermediate_size": 1024,
            "num_hidden_layers": 6,
            "image_size": 64,
            "patch_size": 8,
            "initializer_range": 0.02,
        },
        image_text_hidden_size=256,
        projection_dim=256,
    )


class Training(nn.Module):
    """The captioner and, not kept, the projection and temperature by which its vision tower is taught names."""

    def __init__(self, config: BlipConfig, embedding: int):
        super().__init__()
        self.captioner = BlipForConditionalGeneration(config)
        nn.init.normal_(self.captioner.vision_model.embeddings.position_embedding, std=0.02)
        self.projection = nn.Linear(config.vision_config.hidden_size, embedding, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    def see(self, images_BCHW: torch.Tensor, kept: float, generator: torch.Generator) -> torch.Tensor:
        """States [B, L, D] of the class token and a random part of the patches."""
        vision = self.captioner.vision_model
        tokens = some_patches(vision.embeddings(images_BCHW), kept, generator)
        return vision.post_layernorm(vision.encoder(inputs_embeds=tokens).last_hidden_state)

    def writing_loss(self, seen_BLD: torch.Tensor, tokens_BT: torch.Tensor) -> torch.Tensor:
        """Cross entropy of each next token, with a tenth spread over the vocabulary."""
        words = tokens_BT != SPECIAL.index("[PAD]")
        decoded = self.captioner.text_decoder(
            input_ids=tokens_BT, attention_mask=words.long(), encoder_hidden_states=seen_BLD
        ).logits
        targets = tokens_BT[:, 1:].masked_fill(~words[:, 1:], -100)
        return functional.cross_entropy(decoded[:, :-1].float().transpose(1, 2), targets, label_smoothing=0.1)


def tokenizer_of(texts: Iterable[str]) -> BertTokenizer:
    """A WordPiece tokenizer of these texts' words."""
    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(texts, vocab_size=4096, min_frequency=1, special_tokens=list(SPECIAL))
    return BertTokenizer(vocab=trained.get_vocab(), bos_token="[DEC]", eos_token="[SEP]", model_max_length=MAX_TOKENS)


def tokens_of(tokenizer: BertTokenizer, data: Data) -> torch.Tensor:
    """[icons, MAX_TOKENS]: [DEC] caption [SEP] and padding."""
    captions = [coloured(data, icon) for icon in range(len(data.names))]
    tokens = tokenizer(captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    tokens_CT = tokens.input_ids
    tokens_CT[:, 0] = SPECIAL.index("[DEC]")
    return tokens_CT[:, : int((tokens_CT != SPECIAL.index("[PAD]")).sum(1).max())]


def make(work: Path, recipe: Recipe = RECIPE) -> None:
    """Train and save as `captioner/model` in the working folder; nothing if it is there."""
    folder = work / "captioner"
    if finished(folder / "model"):
        return
    data = load(work)
    drawings = Drawings(data, Texts(work))
    tokenizer = tokenizer_of(sorted({coloured(data, icon) for icon in range(len(data.names))}))
    tokens_CT = tokens_of(tokenizer, data)
    torch.manual_seed(recipe.seed)
    model = Training(config_of(len(tokenizer)), drawings.names_NE.shape[1])

    def loss_of(generator: torch.Generator, step: int) -> torch.Tensor:
        icons, drawn = drawings.draw(recipe.batch, generator)
        kept = KEPT if step < 0.9 * recipe.steps else 1.0
        seen_BLD = model.see(view(drawn, generator), kept, generator)
        embeds_BE = functional.normalize(model.projection(seen_BLD[:, 0]).float(), dim=-1)
        named = drawings.naming_loss(embeds_BE, icons, model.log_scale.clamp(max=4.6).exp())
        return model.writing_loss(seen_BLD, tokens_CT[icons]) + 0.5 * named

    captioner = train(folder, model, recipe, loss_of).captioner

    def write(partial: Path) -> None:
        captioner.to(torch.float16).save_pretrained(partial)
        image_processor(BlipImageProcessor).save_pretrained(partial)
        tokenizer.save_pretrained(partial)

    save(folder / "model", write)


if __name__ == "__main__":
    make(parser(__doc__).parse_args().work)

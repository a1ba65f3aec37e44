"""The nucleus of top-p sampling without sorting the vocabulary.

vLLM sorts it on CPU: 110 to 270 ms for 64 sequences of 49,152 tokens on two cores, as long as the model itself takes.
The nucleus is nearly always among the few hundred likeliest tokens, whose selection takes a tenth of that.
"""

from __future__ import annotations

import torch

NUM_LIKELY = 256


def keep_nucleus(logits_BV: torch.Tensor, top_p_B: torch.Tensor, num_likely: int = NUM_LIKELY) -> torch.Tensor:
    """Minus infinity everywhere but in the smallest sets of likeliest tokens with probability >= `top_p_B`."""
    likely_BN, tokens_BN = logits_BV.topk(min(num_likely, logits_BV.shape[1]), dim=-1)
    probability_BN = (likely_BN - logits_BV.logsumexp(dim=-1, keepdim=True)).exp()
    sum_BN = probability_BN.cumsum(dim=-1)
    outside_BN = sum_BN - probability_BN >= top_p_B[:, None]  # What is likelier than this token suffices.
    outside_BN[:, 0] = False
    kept_BV = torch.full_like(logits_BV, -torch.inf)
    kept_BV.scatter_(1, tokens_BN, likely_BN.masked_fill(outside_BN, -torch.inf))
    wide_B = sum_BN[:, -1] < top_p_B
    if num_likely < logits_BV.shape[1] and bool(wide_B.any()):
        kept_BV[wide_B] = keep_nucleus(logits_BV[wide_B], top_p_B[wide_B], num_likely * 16)
    return kept_BV

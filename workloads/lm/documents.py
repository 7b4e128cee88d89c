"""Documents of the synthetic character language.

They are kept in the harness's cache, because generating them takes seconds.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from harness.api import cached_arrays
from workloads.lm.language import Floats, Language, Tokens

#: Seed from which the language is generated.
LANGUAGE_SEED = 1


@cache
def language(domain: int = 0) -> Language:
    """Return one domain of the synthetic character language. All workloads share this language."""
    return Language(LANGUAGE_SEED, domain)


def documents(n: int, *, length: int, stream_seed: str, domain: int = 0, quality_N: Floats | float = 1.0) -> Tokens:
    """Return the tokens of documents (see `Language.documents`), read-only, of shape (n, length)."""
    quality = hashlib.sha256(np.asarray(quality_N, dtype=np.float64).tobytes()).hexdigest()
    return cached_arrays(
        f"documents {LANGUAGE_SEED} {domain} {n} {length} {quality} {stream_seed}",
        lambda: {
            "tokens": language(domain).documents(n, length=length, stream_seed=stream_seed, quality=quality_N),
        },
    )["tokens"]


def scored_documents(n: int, *, length: int, stream_seed: str, domain: int = 0) -> tuple[Tokens, Floats]:
    """Return documents without noise, and their exact negative log-likelihoods per token.

    Returns:
        Tokens of shape (n, length), and nats per token of shape (n,). Both arrays are read-only.
    """

    def score() -> dict[str, Tokens | Floats]:
        tokens_NT = language(domain).documents(n, length=length, stream_seed=stream_seed)
        return {"tokens": tokens_NT, "nats": -language(domain).log_probs(tokens_NT).mean(axis=1)}

    arrays = cached_arrays(f"scored documents {LANGUAGE_SEED} {domain} {n} {length} {stream_seed}", score)
    return arrays["tokens"], arrays["nats"]


def document_entropy(length: int, domain: int = 0) -> float:
    """Return the entropy of a document in nats per token (see `Language.document_entropy`)."""
    arrays = cached_arrays(
        f"document entropy {LANGUAGE_SEED} {domain} {length}",
        lambda: {"entropy": np.array(language(domain).document_entropy(length))},
    )
    return float(arrays["entropy"])

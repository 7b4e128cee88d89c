"""Entries of the language-model workloads for the plugin; this module must not import torch."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.lm.facts import (
    LM_16M,
    LM_124M,
    LM_124M_SYNTHETIC,
    LM_SHAKESPEARE,
    LM_SHAKESPEARE_LEARNED,
    LM_TINY,
    LM_TINY_POSTNORM,
)

_GPT2 = Source(title="Language Models are Unsupervised Multitask Learners")
_ROTARY = Source(title="RoFormer: Enhanced Transformer with Rotary Position Embedding", arxiv="2104.09864")
_PRIMER = Source(title="Primer: Searching for Efficient Transformers", arxiv="2109.08668", equation="squared ReLU")
_QK_NORM = Source(title="Query-Key Normalization for Transformers", arxiv="2010.04245")
_POST_NORM = Source(title="On Layer Normalization in the Transformer Architecture", arxiv="2002.04745")
_WEB = (_GPT2, _ROTARY, _PRIMER, _QK_NORM)

ENTRIES: tuple[WorkloadEntry, ...] = (
    WorkloadEntry(
        facts=LM_TINY,
        load="workloads.lm.tiny:LmTiny",
        summary="a small GPT on characters of a language of known entropy; target: a cross-entropy; no download",
        sources=(_GPT2, _ROTARY),
        redraws_held_out=True,
    ),
    WorkloadEntry(
        facts=LM_TINY_POSTNORM,
        load="workloads.lm.tiny:LmTiny",
        arguments={"variant": "postnorm"},
        summary="lm-tiny with normalisation after each residual addition (post-norm)",
        sources=(_GPT2, _POST_NORM),
        redraws_held_out=True,
    ),
    WorkloadEntry(
        facts=LM_SHAKESPEARE,
        load="workloads.lm.shakespeare:LmShakespeare",
        summary="a small GPT on the characters of Shakespeare's plays; target: a cross-entropy",
        sources=(_GPT2, _ROTARY),
        needs_data=("tinyshakespeare",),
    ),
    WorkloadEntry(
        facts=LM_SHAKESPEARE_LEARNED,
        load="workloads.lm.shakespeare:LmShakespeare",
        arguments={"variant": "learned"},
        summary="lm-shakespeare with learned positions",
        sources=(_GPT2,),
        needs_data=("tinyshakespeare",),
    ),
    WorkloadEntry(
        facts=LM_16M,
        load="workloads.lm.web:Lm16m",
        summary="a GPT of 16 million parameters on FineWeb; target: a cross-entropy on FineWeb's validation shard",
        sources=_WEB,
        sibling="lm-shakespeare",
        needs_data=("fineweb-gpt2:400M",),
    ),
    WorkloadEntry(
        facts=LM_124M,
        load="workloads.lm.web:Lm124m",
        summary="a GPT of 124 million parameters on FineWeb; target: the cross-entropy 3.28 of the GPT-2 speed runs",
        sources=_WEB,
        sibling="lm-16m",
        needs_data=("fineweb-gpt2:4.1B",),
    ),
    WorkloadEntry(
        facts=LM_124M_SYNTHETIC,
        load="workloads.lm.web:Lm124mSynthetic",
        summary="lm-124m on a generated corpus of known entropy instead of FineWeb; no download",
        sources=_WEB,
        sibling="lm-tiny",
        redraws_held_out=True,
    ),
)

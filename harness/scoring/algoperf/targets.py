"""The scoring targets, base workloads and held-out workloads of version 0.5 of the AlgoPerf benchmark.

Source: AlgoPerf: Training Algorithms benchmark, scoring targets (Apache-2.0), mlcommons/algorithmic-efficiency
"""

from __future__ import annotations

from typing import Literal

#: Direction in which each validation metric improves, unless a targets file states it. AlgoPerf's logs do not contain
#: the direction.
METRIC_GOALS: dict[str, Literal["min", "max"]] = {
    "accuracy": "max",
    "bleu": "max",
    "ce": "min",
    "ctc_loss": "min",
    "loss": "min",
    "mean_average_precision": "max",
    "ppl": "min",
    "ssim": "max",
    "wer": "min",
}

#: The base workloads. The performance profiles are computed from the times to target on these workloads. A missed
#: held-out variant makes its base workload count as missed.
BASE_WORKLOADS = (
    "criteo1tb",
    "fastmri",
    "imagenet_resnet",
    "imagenet_vit",
    "librispeech_conformer",
    "librispeech_deepspeech",
    "ogbg",
    "wmt",
)
#: Held-out variants drawn for version 0.5.
HELD_OUT_WORKLOADS = (
    "criteo1tb_embed_init",
    "fastmri_tanh",
    "imagenet_resnet_large_bn_init",
    "librispeech_conformer_layernorm",
    "ogbg_model_size",
    "wmt_glu_tanh",
)
#: workload -> (validation metric, target value).
TARGETS: dict[str, tuple[str, float]] = {
    "cifar": ("accuracy", 0.85),
    "criteo1tb": ("loss", 0.123735),
    "criteo1tb_test": ("loss", 0.123735),
    "criteo1tb_layernorm": ("loss", 0.123757),
    "criteo1tb_embed_init": ("loss", 0.129657),
    "criteo1tb_resnet": ("loss", 0.12415),
    "fastmri": ("ssim", 0.723653),
    "fastmri_model_size": ("ssim", 0.723559),
    "fastmri_tanh": ("ssim", 0.71784),
    "fastmri_layernorm": ("ssim", 0.723284),
    "imagenet_resnet": ("accuracy", 0.77431),
    "imagenet_resnet_silu": ("accuracy", 0.75445),
    "imagenet_resnet_gelu": ("accuracy", 0.76765),
    "imagenet_resnet_large_bn_init": ("accuracy", 0.76526),
    "imagenet_vit": ("accuracy", 0.77309),
    "imagenet_vit_glu": ("accuracy", 0.75738),
    "imagenet_vit_post_ln": ("accuracy", 0.75312),
    "imagenet_vit_map": ("accuracy", 0.77113),
    "librispeech_conformer": ("wer", 0.085884),
    "librispeech_conformer_attention_temperature": ("wer", 0.109977),
    "librispeech_conformer_layernorm": ("wer", 0.09731),
    "librispeech_conformer_gelu": ("wer", 0.094114),
    "librispeech_deepspeech": ("wer", 0.119936),
    "librispeech_deepspeech_tanh": ("wer", 0.150883),
    "librispeech_deepspeech_no_resnet": ("wer", 0.131564),
    "librispeech_deepspeech_norm_and_spec_aug": ("wer", 0.14342),
    "finewebedu_lm": ("ppl", 22.2995),
    "mnist": ("accuracy", 0.97),
    "ogbg": ("mean_average_precision", 0.28098),
    "ogbg_gelu": ("mean_average_precision", 0.27771),
    "ogbg_silu": ("mean_average_precision", 0.282178),
    "ogbg_model_size": ("mean_average_precision", 0.269446),
    "wmt": ("bleu", 30.8491),
    "wmt_post_ln": ("bleu", 30.0779),
    "wmt_attention_temp": ("bleu", 29.3379),
    "wmt_glu_tanh": ("bleu", 29.5779),
}

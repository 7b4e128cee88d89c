"""Named compositions around optimizers and averagers, as data."""

from __future__ import annotations

from harness.api import Domain, Fixed, LogUniform, Source, SubmissionEntry, Uniform
from submissions.averaging.swa import START
from submissions.optimizers import nadamw

#: A rate that never decays must be smaller: the noise of a large one stays in the weights to the end.
_STEADY: dict[str, Domain] = {"lr": LogUniform(3e-4, 1e-2, default=3e-3), "warmup": Fixed(20, limits=(0, None))}


def _with_wsd(name: str, optimizer: str, what: str, *tags: str) -> SubmissionEntry:
    return SubmissionEntry(
        name=name,
        summary=f"{what}, with warmup, a stable phase and a short decay",
        parts=(f"optimizer:{optimizer}", "schedule:wsd"),
        tags=("decay", *tags),
    )


_OPTIMIZERS = (
    _with_wsd("nesterov-wsd", "nesterov", "SGD with Nesterov momentum", "sgd"),
    _with_wsd("heavy-ball-wsd", "heavy-ball", "SGD with heavy-ball momentum", "sgd"),
    _with_wsd("sgdw-wsd", "sgdw", "SGD with momentum and decoupled weight decay", "sgd"),
    _with_wsd("nadamw-wsd", "nadamw", "Adam with Nesterov momentum and decoupled weight decay"),
    _with_wsd("radam-wsd", "radam", "rectified Adam with decoupled weight decay"),
    _with_wsd("adabound-wsd", "adabound", "Adam with step sizes in bounds that close on SGD's"),
    SubmissionEntry(
        name="amsbound-wsd",
        summary="AMSGrad with step sizes in bounds that close on SGD's, with warmup, a stable phase and a short decay",
        parts=("optimizer:adabound", "schedule:wsd"),
        space={"ams": Fixed(True)},
        tags=("decay",),
    ),
    _with_wsd("adamod-wsd", "adamod", "Adam with step sizes bounded by their running mean"),
    _with_wsd("fadam-wsd", "fadam", "Adam as natural gradient"),
    _with_wsd("adafactor-wsd", "adafactor", "Adafactor", "memory"),
    _with_wsd("lamb-wsd", "lamb", "LAMB", "large-batch"),
    _with_wsd("lion-wsd", "lion", "Lion", "memory"),
    _with_wsd("soap-wsd", "soap", "SOAP", "matrix"),
    _with_wsd("shampoo-wsd", "shampoo", "Shampoo for hidden weights and AdamW for the rest", "matrix"),
    _with_wsd("ademamix-wsd", "ademamix", "Adam with a fast and a slow mean of the gradients"),
    _with_wsd("galore-wsd", "galore", "Adam on low-rank projections of the gradients", "memory"),
)

_OTHERS = (
    SubmissionEntry(
        name="nadamw-algoperf",
        summary="NAdamW with AlgoPerf's self-tuning hyperparameters: short warmup and cosine to zero, nothing tuned",
        parts=("optimizer:nadamw", "schedule:cosine"),
        space={
            # Their dropout is left out: not every workload has the option.
            **{name: Fixed(nadamw.SELF_TUNING[name], limits=(0.0, None)) for name in ("lr", "weight_decay")},
            **{name: Fixed(nadamw.SELF_TUNING[name], limits=(0.0, 0.999999)) for name in ("beta1", "beta2")},
            "warmup": Fixed(nadamw.SELF_TUNING["warmup"], limits=(0.0, None)),
            "horizon_fraction": Uniform(0.25, 1.0, default=0.75, limits=(0.01, 1.0)),
        },
        sources=(Source(title="How far away are truly hyperparameter-free learning algorithms?", arxiv="2505.24005"),),
        tags=("decay", "self-tuning"),
    ),
    SubmissionEntry(
        name="nadamw-algoperf-points",
        summary="NAdamW with a short warmup and cosine to zero, tuned over AlgoPerf's five external points",
        parts=("optimizer:nadamw", "schedule:cosine"),
        # Without their label smoothing and dropout, which not every workload has: the first and the third are then one.
        points=tuple(
            {name: value for name, value in point.items() if name not in ("label_smoothing", "dropout")}
            for point in nadamw.POINTS
        ),
        sources=(Source(title="Benchmarking Neural Network Training Algorithms", arxiv="2306.07179"),),
        tags=("decay",),
    ),
    SubmissionEntry(
        name="prodigy",
        summary="Prodigy at the rate it estimates, constant",
        parts=("optimizer:prodigy", "schedule:constant"),
        tags=("anytime", "self-tuning"),
    ),
    SubmissionEntry(
        name="prodigy-wsd",
        summary="Prodigy at the rate it estimates, with warmup, a stable phase and a short decay",
        parts=("optimizer:prodigy", "schedule:wsd"),
        # Its authors' advice where there is a warmup: else the estimate takes the small steps for short distances.
        space={"safeguard_warmup": Fixed(True)},
        tags=("decay",),
    ),
    SubmissionEntry(
        name="dog",
        summary="DoG, evaluated as a polynomial-decay average",
        parts=("optimizer:dog", "schedule:constant", "averaging:polynomial"),
        tags=("anytime", "averaging", "self-tuning", "sgd"),
    ),
    SubmissionEntry(
        name="ldog",
        summary="layer-wise DoG, evaluated as a polynomial-decay average",
        parts=("optimizer:ldog", "schedule:constant", "averaging:polynomial"),
        tags=("anytime", "averaging", "self-tuning", "sgd"),
    ),
    SubmissionEntry(
        name="schedule-free-sgd",
        summary="schedule-free SGD: averaging in place of decay, no horizon",
        parts=("optimizer:schedule-free-sgd",),
        tags=("anytime", "averaging", "sgd"),
    ),
    SubmissionEntry(
        name="schedule-free-radam",
        summary="schedule-free RAdam: averaging in place of decay, neither warmup nor horizon",
        parts=("optimizer:schedule-free-radam",),
        tags=("anytime", "averaging"),
    ),
    SubmissionEntry(
        name="sam-sgd",
        summary="sharpness-aware SGD with Nesterov momentum, two passes a step; warmup, a stable phase and a decay",
        parts=("optimizer:nesterov", "schedule:wsd", "gradient:sam"),
        tags=("decay", "sgd", "flatness"),
    ),
)

_AVERAGED = (
    SubmissionEntry(
        name="adamw-swa",
        summary="AdamW with the learning rate of SWA, evaluated as the mean of late weights",
        parts=("optimizer:adamw", "schedule:swa-lr", "averaging:swa"),
        # One start for the learning rate and the averaging.
        space={"swa_start": START},
        tags=("averaging",),
    ),
    SubmissionEntry(
        name="sgd-swa",
        summary="SGD with heavy-ball momentum and the learning rate of SWA, evaluated as the mean of late weights",
        parts=("optimizer:heavy-ball", "schedule:swa-lr", "averaging:swa"),
        space={"swa_start": START},
        tags=("averaging", "sgd"),
    ),
    SubmissionEntry(
        name="wsd-lawa",
        summary="AdamW with warmup, a stable phase and a short decay, evaluated as the mean of the latest checkpoints",
        parts=("optimizer:adamw", "schedule:wsd", "averaging:lawa"),
        tags=("decay", "averaging"),
    ),
    SubmissionEntry(
        name="wsm",
        summary="AdamW at a constant rate, checkpoints merged so that they stand for a decay",
        parts=("optimizer:adamw", "schedule:constant", "averaging:wsm"),
        space=_STEADY,
        tags=("anytime", "averaging"),
    ),
    SubmissionEntry(
        name="adamw-polynomial",
        summary="AdamW at a constant rate, evaluated as a polynomial-decay average",
        parts=("optimizer:adamw", "schedule:constant", "averaging:polynomial"),
        space=_STEADY,
        tags=("anytime", "averaging"),
    ),
    SubmissionEntry(
        name="cma",
        summary="AdamW at a constant rate on examples in ascending quality, the last checkpoints averaged",
        parts=("optimizer:adamw", "schedule:constant", "averaging:cma", "order:quality-ascending"),
        space=_STEADY,
        tags=("curriculum", "averaging"),
    ),
    SubmissionEntry(
        name="cdma",
        summary="AdamW decayed to a third of its rate on examples in ascending quality, the last checkpoints averaged",
        parts=("optimizer:adamw", "schedule:wsd", "averaging:cma", "order:quality-ascending"),
        # A moderate decay: a full one would spend the smallest steps on the best examples.
        space={"final": Uniform(0.2, 0.5, default=1 / 3, limits=(0.0, 1.0))},
        tags=("curriculum", "decay", "averaging"),
    ),
    SubmissionEntry(
        name="temporal-ensemble",
        summary="AdamW at a constant rate with experience replay, evaluated as a moving average",
        parts=("optimizer:adamw", "schedule:constant", "averaging:ema", "replay:reservoir"),
        space={"lr": LogUniform(3e-4, 1e-2, default=1e-3)},
        tags=("continual", "averaging"),
    ),
)

PRESETS = (*_OPTIMIZERS, *_OTHERS, *_AVERAGED)

"""Submissions for the optimizers and the averagers, as data."""

from __future__ import annotations

from harness.api import Domain, Fixed, LogUniform, Source, SubmissionEntry, Uniform
from submissions.averaging.swa import START
from submissions.optimizers import nadamw

#: Smaller learning rates, for constant schedules. A large learning rate causes noise in the weights. Only a decay
#: removes this noise before the end of the run.
_STEADY: dict[str, Domain] = {"lr": LogUniform(3e-4, 1e-2, default=3e-3), "warmup": Fixed(20, limits=(0, None))}

_WSD = "warmup, constant learning rate, short decay at the end"


def _with_wsd(name: str, optimizer: str, title: str, *tags: str) -> SubmissionEntry:
    return SubmissionEntry(
        name=name,
        summary=f"{title}; {_WSD}",
        parts=(f"optimizer:{optimizer}", "schedule:wsd"),
        tags=("decay", *tags),
    )


_OPTIMIZERS = (
    _with_wsd("nesterov-wsd", "nesterov", "SGD with Nesterov momentum", "sgd"),
    _with_wsd("heavy-ball-wsd", "heavy-ball", "SGD with heavy-ball momentum", "sgd"),
    _with_wsd("sgdw-wsd", "sgdw", "SGD with momentum and decoupled weight decay", "sgd"),
    _with_wsd("nadamw-wsd", "nadamw", "Adam with Nesterov momentum and decoupled weight decay"),
    _with_wsd("radam-wsd", "radam", "rectified Adam with decoupled weight decay"),
    _with_wsd("adabound-wsd", "adabound", "Adam with step sizes between two bounds that approach the step size of SGD"),
    SubmissionEntry(
        name="amsbound-wsd",
        summary=f"AMSGrad with step sizes between two bounds that approach the step size of SGD; {_WSD}",
        parts=("optimizer:adabound", "schedule:wsd"),
        space={"ams": Fixed(True)},
        tags=("decay",),
    ),
    _with_wsd("adamod-wsd", "adamod", "Adam with step sizes limited by the running mean of the step sizes"),
    _with_wsd("fadam-wsd", "fadam", "FAdam, a variant of Adam that approximates the natural gradient"),
    _with_wsd("adafactor-wsd", "adafactor", "Adafactor", "memory"),
    _with_wsd("lamb-wsd", "lamb", "LAMB", "large-batch"),
    _with_wsd("lion-wsd", "lion", "Lion", "memory"),
    _with_wsd("soap-wsd", "soap", "SOAP", "matrix"),
    _with_wsd("shampoo-wsd", "shampoo", "Shampoo for hidden weights, AdamW for all others", "matrix"),
    _with_wsd("ademamix-wsd", "ademamix", "Adam with a fast and a slow moving average of the gradients"),
    _with_wsd("galore-wsd", "galore", "Adam on low-rank projections of the gradients", "memory"),
)

_OTHERS = (
    SubmissionEntry(
        name="nadamw-algoperf",
        summary="NAdamW with the fixed values of AlgoPerf's self-tuning baseline; short warmup, cosine decay to zero",
        parts=("optimizer:nadamw", "schedule:cosine"),
        space={
            # The baseline's dropout is omitted, because not every workload has this option.
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
        summary="NAdamW, warmup, cosine decay to zero; tries the five settings of AlgoPerf's external-tuning baseline",
        parts=("optimizer:nadamw", "schedule:cosine"),
        # Label smoothing and dropout are omitted, because not every workload has these options. Without them, the first
        # and the third setting are equal.
        points=tuple(
            {name: value for name, value in point.items() if name not in ("label_smoothing", "dropout")}
            for point in nadamw.POINTS
        ),
        sources=(Source(title="Benchmarking Neural Network Training Algorithms", arxiv="2306.07179"),),
        tags=("decay",),
    ),
    SubmissionEntry(
        name="prodigy",
        summary="Prodigy, which estimates its learning rate; warmup, then a constant schedule",
        parts=("optimizer:prodigy", "schedule:constant"),
        tags=("anytime", "self-tuning"),
    ),
    SubmissionEntry(
        name="prodigy-wsd",
        summary=f"Prodigy, which estimates its learning rate; {_WSD}",
        parts=("optimizer:prodigy", "schedule:wsd"),
        # The authors of Prodigy recommend this option for schedules with a warmup. Without it, the warmup's small steps
        # would bias Prodigy's estimate of the distance to the solution.
        space={"safeguard_warmup": Fixed(True)},
        tags=("decay",),
    ),
    SubmissionEntry(
        name="dog",
        summary="DoG; evaluates a polynomial-decay average of the weights",
        parts=("optimizer:dog", "schedule:constant", "averaging:polynomial"),
        tags=("anytime", "averaging", "self-tuning", "sgd"),
    ),
    SubmissionEntry(
        name="ldog",
        summary="layer-wise DoG; evaluates a polynomial-decay average of the weights",
        parts=("optimizer:ldog", "schedule:constant", "averaging:polynomial"),
        tags=("anytime", "averaging", "self-tuning", "sgd"),
    ),
    SubmissionEntry(
        name="schedule-free-sgd",
        summary="schedule-free SGD, which averages weights instead of decaying the learning rate; needs no horizon",
        parts=("optimizer:schedule-free-sgd",),
        tags=("anytime", "averaging", "sgd"),
    ),
    SubmissionEntry(
        name="schedule-free-radam",
        summary="schedule-free RAdam, which averages weights instead of decaying the rate; no warmup, no horizon",
        parts=("optimizer:schedule-free-radam",),
        tags=("anytime", "averaging"),
    ),
    SubmissionEntry(
        name="sam-sgd",
        summary=f"sharpness-aware SGD with Nesterov momentum, two backward passes per step; {_WSD}",
        parts=("optimizer:nesterov", "schedule:wsd", "gradient:sam"),
        tags=("decay", "sgd", "flatness"),
    ),
)

_AVERAGED = (
    SubmissionEntry(
        name="adamw-swa",
        summary="AdamW with the schedule of SWA; evaluates the mean of the weights from the last part of the run",
        parts=("optimizer:adamw", "schedule:swa-lr", "averaging:swa"),
        # The schedule and the averaging use the same value.
        space={"swa_start": START},
        tags=("averaging",),
    ),
    SubmissionEntry(
        name="sgd-swa",
        summary="SGD with heavy-ball momentum and the schedule of SWA; evaluates the mean of the weights from the last "
        "part of the run",
        parts=("optimizer:heavy-ball", "schedule:swa-lr", "averaging:swa"),
        space={"swa_start": START},
        tags=("averaging", "sgd"),
    ),
    SubmissionEntry(
        name="wsd-lawa",
        summary=f"AdamW; {_WSD}; evaluates the mean of the latest checkpoints",
        parts=("optimizer:adamw", "schedule:wsd", "averaging:lawa"),
        tags=("decay", "averaging"),
    ),
    SubmissionEntry(
        name="wsm",
        summary="AdamW with a constant learning rate; merges checkpoints to imitate a decay of the learning rate",
        parts=("optimizer:adamw", "schedule:constant", "averaging:wsm"),
        space=_STEADY,
        tags=("anytime", "averaging"),
    ),
    SubmissionEntry(
        name="adamw-polynomial",
        summary="AdamW with a constant learning rate; evaluates a polynomial-decay average of the weights",
        parts=("optimizer:adamw", "schedule:constant", "averaging:polynomial"),
        space=_STEADY,
        tags=("anytime", "averaging"),
    ),
    SubmissionEntry(
        name="cma",
        summary="AdamW, constant learning rate, examples in ascending quality; averages the last checkpoints",
        parts=("optimizer:adamw", "schedule:constant", "averaging:cma", "order:quality-ascending"),
        space=_STEADY,
        tags=("curriculum", "averaging"),
    ),
    SubmissionEntry(
        name="cdma",
        summary="AdamW, decay to a third of the peak, examples in ascending quality; averages the last checkpoints",
        parts=("optimizer:adamw", "schedule:wsd", "averaging:cma", "order:quality-ascending"),
        # The best examples come last. With a decay to zero, the steps on these examples would be the smallest.
        space={"final": Uniform(0.2, 0.5, default=1 / 3, limits=(0.0, 1.0))},
        tags=("curriculum", "decay", "averaging"),
    ),
    SubmissionEntry(
        name="temporal-ensemble",
        summary="AdamW, constant learning rate, experience replay; evaluates a moving average of the weights",
        parts=("optimizer:adamw", "schedule:constant", "averaging:ema", "replay:reservoir"),
        space={"lr": LogUniform(3e-4, 1e-2, default=1e-3)},
        tags=("continual", "averaging"),
    ),
)

PRESETS = (*_OPTIMIZERS, *_OTHERS, *_AVERAGED)

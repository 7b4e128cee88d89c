"""Hyperparameters that several optimizers share, with the bounds that planning holds them to."""

from __future__ import annotations

from harness.api import Domain, Fixed, LogUniform, Uniform

#: A decay rate must stay below 1; what rounds to 1 in single precision is as bad.
BELOW_ONE = (0.0, 0.999999)

MOMENTUM: Domain = Uniform(0.8, 0.98, default=0.9, limits=BELOW_ONE)
BETA1: Domain = Uniform(0.8, 0.98, default=0.9, limits=BELOW_ONE)
BETA2: Domain = Uniform(0.9, 0.999, default=0.95, limits=BELOW_ONE)
#: Decoupled from the gradient, multiplied by the learning rate.
WEIGHT_DECAY: Domain = LogUniform(1e-3, 1.0, default=0.1, limits=(0.0, None))
EPS: Domain = Fixed(1e-8, limits=(0.0, None))

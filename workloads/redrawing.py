"""The base of workloads on generated data. In a run with a nonce (a random number), held-out data are fresh."""

from __future__ import annotations

from collections.abc import Mapping

from harness.api import Split


class Redrawing:
    """Mixin for workloads on generated data, which draw new held-out examples in a run with a nonce.

    The language or the patterns stay the same. With others, the loss of a trained model would change by several times
    its standard error (ADR 22). One target would then not suit all runs.
    """

    _seeds: Mapping[Split, str] = {}

    def draw_held_out(self, seeds: Mapping[Split, str]) -> None:
        """Draw the examples of the splits in `seeds` from these seeds from now on."""
        self._seeds = dict(seeds)

    def sample(self, split: Split) -> str:
        """Return the name of a split's sample: the split's name and, if `draw_held_out` gave a seed, this seed."""
        return f"{split}/{self._seeds[split]}" if split in self._seeds else split

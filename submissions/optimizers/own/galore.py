"""pytorch_optimizer's GaLore with a state that a checkpoint can hold, over parameters of any shape."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_optimizer import GaLore

_PROJECTOR = "projector"


class PlainGaLore(GaLore):
    """The library keeps its projectors, objects of its own, among the state; here they leave it as tensors and numbers.

    Args:
        params, options: of pytorch_optimizer.GaLore.
    """

    def state_dict(self) -> dict[str, Any]:
        """As the library's, with every projector as its basis and the update it was taken at."""
        state: dict[str, Any] = super().state_dict()
        state["state"] = {number: self._plain(entry) for number, entry in state["state"].items()}
        return state

    @staticmethod
    def _plain(entry: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in entry.items() if name != _PROJECTOR}
        if (projector := entry.get(_PROJECTOR)) is not None:
            kept |= {"basis": projector.ortho_matrix, "taken_at": projector.last_svd_step}
        return kept

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for tensor in group["params"]:
                entry = self.state[tensor]
                if "basis" in entry:
                    entry[_PROJECTOR] = self._projector(group, entry.pop("basis"), entry.pop("taken_at"))

    @staticmethod
    def _projector(group: dict[str, Any], basis: torch.Tensor, taken_at: int) -> Any:
        from pytorch_optimizer.optimizer.utils.galore import GaLoreProjector

        names = ("rank", "update_proj_gap", "scale", "projection_type")
        projector = GaLoreProjector(**{name: group[name] for name in names})
        projector.ortho_matrix, projector.last_svd_step = basis, taken_at
        return projector

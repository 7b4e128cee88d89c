"""The data that are opened before a worker enters its sandbox."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data

#: The parts of a workload's data that a worker may need: the training data and two held-out splits.
DataPart = Literal["train", "score", "feedback"]


class PreparedData(Data, frozen=True, kw_only=True):
    """A part of a workload's data, and the path of its manifest, a list of the files of this data.

    Args:
        part: the training data or a held-out split.
        manifest: path of the manifest. The manifest exists once the data exist.
        seedless: path of a manifest that serves all seeds of the training data. It is written instead of `manifest` if
            the opened files do not seem to depend on the seed. Empty for a held-out split.
    """

    part: DataPart
    manifest: str
    seedless: str = ""

"""A pool of small images that lives on one device and is cropped and flipped there as it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from harness.api import Batch, uniforms_at

Statistics = Sequence[float] | Tensor


class AugmentedPool:
    """Images, each drawn at a random place in a frame of its own reflection and mirrored every other time.

    It is the drawing that augments, not the loss: a batch is then a fixed thing, so that several passes over it
    (a line search, two steps of one update, a teacher and its student) see the same images, and evaluation, which
    never draws, cannot be touched. All random numbers depend on the seed and on the example's position in the run
    alone, so runs with equal seeds see the same images; no generator changes.

    Args:
        images_BHWC: uint8, shape (n, height, width, channels).
        labels_B: int64, shape (n,).
        mean, std: of the pixels in [0, 1], per channel.
        reach: how far an image may move, in pixels each way.
        seed: seed of the augmentation.
        device: where the images are kept and batches come from.
    """

    def __init__(
        self,
        images_BHWC: Tensor,
        labels_B: Tensor,
        *,
        mean: Statistics,
        std: Statistics,
        reach: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.scores: Mapping[str, Tensor] = {}
        self._reach = reach
        self._seed = seed
        self._height, self._width = images_BHWC.shape[1:3]
        self._framed_BHWC = framed(images_BHWC.to(device), reach)
        self._labels_B = labels_B.to(device)
        # On the device for good: made anew for every batch they would be copied there, and the host would wait for it.
        self._mean, self._std = (torch.as_tensor(values, device=device) for values in (mean, std))

    def __len__(self) -> int:
        return len(self._labels_B)

    def gather(self, indices: Tensor) -> Batch:
        """The images at `indices`, outside of the run's draws: every image is always augmented in the same way."""
        at_B = _sent(indices, self._labels_B.device)
        return self._augmented(at_B, at_B)

    def gather_at(self, indices: Tensor, position: int) -> Batch:
        """The images at `indices`, augmented for the positions of the run from `position` on.

        Returns:
            `x_BCHW` (float32, channels innermost) and `labels_B`.
        """
        at_B = _sent(indices, self._labels_B.device)
        return self._augmented(at_B, torch.arange(position, position + len(at_B), device=at_B.device))

    def _augmented(self, at_B: Tensor, positions_B: Tensor) -> Batch:
        n, device = len(at_B), at_B.device
        numbers_3B = uniforms_at(self._seed, positions_B, 3).T
        moves_2B = (numbers_3B[:2] * (2 * self._reach + 1)).long()
        mirrored_B = numbers_3B[2] < 0.5
        rows_BH = moves_2B[0, :, None] + torch.arange(self._height, device=device)
        columns_BW = torch.arange(self._width, device=device).expand(n, -1)
        columns_BW = torch.where(mirrored_B[:, None], self._width - 1 - columns_BW, columns_BW) + moves_2B[1, :, None]
        pixels_BHWC = self._framed_BHWC[at_B[:, None, None], rows_BH[:, :, None], columns_BW[:, None, :]]
        return Batch(x_BCHW=normalised(pixels_BHWC, self._mean, self._std), labels_B=self._labels_B[at_B])


def framed(images_BHWC: Tensor, reach: int) -> Tensor:
    """Images with `reach` pixels of their own reflection on every side, the outermost pixel not repeated.

    >>> framed(torch.tensor([1, 2, 3], dtype=torch.uint8).expand(1, 3, 3)[..., None], 1)[0, 1, :, 0].tolist()
    [2, 1, 2, 3, 2]
    """
    for axis in (1, 2):
        size = images_BHWC.shape[axis]
        at = torch.arange(-reach, size + reach, device=images_BHWC.device).abs()
        images_BHWC = images_BHWC.index_select(axis, torch.where(at < size, at, 2 * (size - 1) - at))
    return images_BHWC


def normalised(pixels_BHWC: Tensor, mean: Statistics, std: Statistics) -> Tensor:
    """Pixels (uint8, shape (n, height, width, channels)) to zero mean and unit variance (float32, (n, channels, …)).

    The channels stay innermost in memory.
    """
    shift, scale = (torch.as_tensor(values, device=pixels_BHWC.device) for values in (mean, std))
    return ((pixels_BHWC.float() / 255.0 - shift) / scale).permute(0, 3, 1, 2)


def _sent(indices: Tensor, device: torch.device) -> Tensor:
    """Indices on the device; from page-locked memory, so that the host does not wait for what is queued there."""
    if device.type == "cuda" and indices.device.type == "cpu":
        return indices.pin_memory().to(device, non_blocking=True)
    return indices.to(device)

"""A pool of small images on one device, which crops and flips images on this device when they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from harness.api import Batch, uniforms_at

Statistics = Sequence[float] | Tensor


class AugmentedPool:
    """A pool of images that are padded by reflection, cropped at random and flipped with probability 1/2.

    Images are augmented when they are drawn, not in the loss. Several passes over one batch (a line search, a teacher
    and its student) therefore see the same images. Evaluation is never augmented.

    The augmentation depends only on the seed and on the example's position in the run. Runs with equal seeds and equal
    data order therefore see the same images. The state of random number generators does not change.

    Args:
        images_BHWC: uint8, shape (n, height, width, channels).
        labels_B: int64, shape (n,).
        mean, std: mean and standard deviation of the pixels in [0, 1], per channel.
        reach: maximum shift of an image in each direction, in pixels.
        seed: seed of the augmentation.
        device: the device of the images and of the batches.
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
        # Mean and standard deviation stay on the device, because a copy for every batch would make the host wait.
        self._mean, self._std = (torch.as_tensor(values, device=device) for values in (mean, std))

    def __len__(self) -> int:
        return len(self._labels_B)

    def gather(self, indices: Tensor) -> Batch:
        """Return the images at `indices` for other purposes than the run's draws.

        Here, an image has the same augmentation in every call.
        """
        at_B = _move_indices(indices, self._labels_B.device)
        return self._augment(at_B, at_B)

    def gather_at(self, indices: Tensor, position: int) -> Batch:
        """Return the images at `indices`, for a run that has drawn `position` examples before.

        The augmentation of an image depends on the image's position in the run.

        Returns:
            `x_BCHW` (float32, channels_last) and `labels_B`.
        """
        at_B = _move_indices(indices, self._labels_B.device)
        return self._augment(at_B, torch.arange(position, position + len(at_B), device=at_B.device))

    def _augment(self, at_B: Tensor, positions_B: Tensor) -> Batch:
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
    """Pad images by reflection with `reach` pixels on every side, without repeating the outermost pixel.

    >>> framed(torch.tensor([1, 2, 3], dtype=torch.uint8).expand(1, 3, 3)[..., None], 1)[0, 1, :, 0].tolist()
    [2, 1, 2, 3, 2]
    """
    for axis in (1, 2):
        size = images_BHWC.shape[axis]
        at = torch.arange(-reach, size + reach, device=images_BHWC.device).abs()
        images_BHWC = images_BHWC.index_select(axis, torch.where(at < size, at, 2 * (size - 1) - at))
    return images_BHWC


def normalised(pixels_BHWC: Tensor, mean: Statistics, std: Statistics) -> Tensor:
    """Return pixels (uint8, (n, height, width, channels)) normalised with `mean` and `std`.

    The result is float32 with the shape (n, channels, height, width), in the memory format channels_last.
    """
    shift, scale = (torch.as_tensor(values, device=pixels_BHWC.device) for values in (mean, std))
    return ((pixels_BHWC.float() / 255.0 - shift) / scale).permute(0, 3, 1, 2)


def _move_indices(indices: Tensor, device: torch.device) -> Tensor:
    """Move indices to the device from pinned memory, so that the host does not wait for queued kernels."""
    if device.type == "cuda" and indices.device.type == "cpu":
        return indices.pin_memory().to(device, non_blocking=True)
    return indices.to(device)

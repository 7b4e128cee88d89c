"""Images that are decoded from files by several threads when they are drawn, with a random or a central crop.

Source: Szegedy et al., Going Deeper with Convolutions (arXiv 1409.4842), section 6: crops of 8 to 100 % of the area.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.api import Batch, uniforms_at
from workloads.formats.imagefolder import Box, read_part

#: Mean and standard deviation of ImageNet's pixels in [0, 1], per channel.
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Side of the central crop as a fraction of the image's shorter side: 224/256.
MIDDLE = 0.875
_AREA = (0.08, 1.0)
_LOG_ASPECT = math.log(4 / 3)


class Photos:
    """Image files with their labels. All crops are resized to one size.

    Args:
        samples: (path, label) of each image.
        size: height and width of the crops, in pixels.
    """

    def __init__(self, samples: Sequence[tuple[Path, int]], size: int) -> None:
        self._samples = samples
        self._size = size
        # Decoding releases the GIL, so threads suffice.
        self._threads = min(16, os.cpu_count() or 1)

    def __len__(self) -> int:
        return len(self._samples)

    def middles(self, indices: Iterable[int]) -> Batch:
        """Return the central crop of each image: `x_BCHW` (float32, (n, 3, size, size)) and `labels_B` (int64, (n,)).

        Raises:
            DataError: an image is damaged. The message names the file.
        """
        chosen = list(indices)
        return self._batch(chosen, [middle] * len(chosen))

    def parts(self, indices: Sequence[int], numbers_B4: NDArray[np.float64]) -> Batch:
        """Return a crop of each image. Four numbers in [0, 1) determine each crop; see `random_part`.

        Args:
            indices: indices of the images.
            numbers_B4: four numbers per image, shape (n, 4).

        Raises:
            DataError: an image is damaged. The message names the file.
        """

        def box_of(numbers_4: NDArray[np.float64]) -> Callable[[int, int], Box]:
            return lambda width, height: random_part(width, height, *map(float, numbers_4))

        return self._batch(indices, [box_of(numbers) for numbers in numbers_B4])

    def _batch(self, indices: Sequence[int], boxes: Sequence[Callable[[int, int], Box]]) -> Batch:
        def read(job: tuple[int, Callable[[int, int], Box]]) -> NDArray[np.uint8]:
            index, box = job
            return read_part(self._samples[index][0], box, self._size)

        with ThreadPoolExecutor(self._threads) as threads:
            pixels_BHWC = np.stack(list(threads.map(read, zip(indices, boxes, strict=True))))
        labels_B = torch.tensor([self._samples[index][1] for index in indices])
        return Batch(x_BCHW=_normalised(torch.from_numpy(pixels_BHWC)), labels_B=labels_B)


class PhotoPool:
    """A pool of images. Whenever an image is drawn, it gets a new random crop and is flipped with probability 1/2.

    The augmentation depends only on the seed and on the example's position in the run. Runs with equal seeds and equal
    data order therefore see the same crops, and a batch may be prefetched.

    Args:
        photos: the training images.
        seed: seed of the augmentation.
    """

    prefetchable = True

    def __init__(self, photos: Photos, seed: int) -> None:
        self.scores: Mapping[str, Tensor] = {}
        self._photos = photos
        self._seed = seed

    def __len__(self) -> int:
        return len(self._photos)

    def gather(self, indices: Tensor) -> Batch:
        """Return the images at `indices` for other purposes than the run's draws.

        Here, an image has the same augmentation in every call.

        Raises:
            DataError: an image is damaged. The message names the file.
        """
        return self._augment(indices, indices)

    def gather_at(self, indices: Tensor, position: int) -> Batch:
        """Return the images at `indices`, for a run that has drawn `position` examples before.

        The augmentation of an image depends on the image's position in the run.

        Raises:
            DataError: an image is damaged. The message names the file.
        """
        return self._augment(indices, torch.arange(position, position + len(indices)))

    def _augment(self, indices: Tensor, positions_B: Tensor) -> Batch:
        numbers_B5 = uniforms_at(self._seed, positions_B, 5).double().numpy()
        batch = self._photos.parts(indices.tolist(), numbers_B5[:, :4])
        mirrored_B = torch.from_numpy(numbers_B5[:, 4] < 0.5)[:, None, None, None]
        x_BCHW = torch.where(mirrored_B, batch["x_BCHW"].flip(3), batch["x_BCHW"])
        return Batch(x_BCHW=x_BCHW, labels_B=batch["labels_B"])


def middle(width: int, height: int) -> Box:
    """Return the central square, whose side is `MIDDLE` times the shorter side.

    >>> middle(400, 256)
    (88.0, 16.0, 312.0, 240.0)
    """
    side = MIDDLE * min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def random_part(width: int, height: int, area: float, aspect: float, across: float, down: float) -> Box:
    """Return the crop for four numbers in [0, 1): its area, aspect ratio, horizontal and vertical position.

    The crop has 8 to 100 % of the image's area and an aspect ratio of 3:4 to 4:3. If this crop exceeds the image, it is
    cut and may have a smaller area and another aspect ratio.

    >>> random_part(100, 100, 1.0, 0.5, 0.3, 0.3)
    (0.0, 0.0, 100.0, 100.0)
    """
    wanted = (_AREA[0] + (_AREA[1] - _AREA[0]) * area) * width * height
    ratio = math.exp(_LOG_ASPECT * (2 * aspect - 1))
    # A crop that exceeds the image is cut and not drawn again. New draws would need an unknown number of numbers.
    w, h = min(width, math.sqrt(wanted * ratio)), min(height, math.sqrt(wanted / ratio))
    left, upper = across * (width - w), down * (height - h)
    return left, upper, left + w, upper + h


def _normalised(pixels_BHWC: Tensor) -> Tensor:
    x_BHWC = (pixels_BHWC.float() / 255.0 - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    return x_BHWC.permute(0, 3, 1, 2)

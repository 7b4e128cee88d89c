"""Small generated files in the formats of the CPU tier's datasets, so that every workload can be tried anywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.datasets import manage
from tests.workloads import images, mnist_files
from workloads import datasets
from workloads.lm.shakespeare import BLOCK, CHARACTERS


def write_text(path: Path) -> Path:
    """65 characters in no order, 21 blocks and a rest too short for a sequence."""
    letters = [chr(ord("0") + k) for k in range(CHARACTERS)]
    path.write_text("".join(random.Random(0).choices(letters, k=21 * BLOCK + 40)))
    return path


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """BENCH_DATA is a folder where all of them have been imported."""
    text, mnist = folder / "text", folder / "mnist"
    text.mkdir(parents=True)
    write_text(text / datasets.TINYSHAKESPEARE.files[0].name)
    sources = {
        datasets.MNIST: mnist_files.write(mnist, train=3_000),
        datasets.FASHION_MNIST: images.write_fashion(folder / "fashion-mnist"),
        datasets.TINYSHAKESPEARE: text,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA", str(folder / "home"))
        for entry, source in sources.items():
            manage.import_folder(entry, source, copy=True, accept_checksum=True)
        yield

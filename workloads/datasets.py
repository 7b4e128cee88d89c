"""The datasets that first-party workloads train on: where they come from, under which terms, how to tell them."""

from __future__ import annotations

from harness.api import DatasetEntry, DatasetFile

FINEWEB_TRAIN = "fineweb_train_%06d.bin"
FINEWEB_VALIDATION = "fineweb_val_%06d.bin"
FINEWEB_SHARDS = 103
#: Training shards that no pool has: `feedback` and `audit` are on them.
FINEWEB_RESERVED = (42, 43)
_FINEWEB_TOKENS = 100_000_000

_UNKNOWN_SUMS = "no checksum is on record here: size and format are checked, and later changes are noticed"


def _idx(name: str, size: int, sha256: str, bases: tuple[str, ...]) -> DatasetFile:
    return DatasetFile(name=name, size=size, sha256=sha256, urls=tuple(f"{base}/{name}" for base in bases))


def _mnist(name: str, size: int) -> DatasetFile:
    return _idx(
        name,
        size,
        "",
        ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
    )


def _fashion(name: str, size: int, sha256: str) -> DatasetFile:
    return _idx(
        name,
        size,
        sha256,
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
        ),
    )


def _cifar(name: str) -> DatasetFile:
    return DatasetFile(
        name=name,
        size=30_730_000,
        urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        member=f"cifar-10-batches-bin/{name}",
    )


def _fineweb(name: str, tokens: int = 0) -> DatasetFile:
    return DatasetFile(
        name=name, tokens=tokens, urls=(f"https://huggingface.co/datasets/kjj0/fineweb10B-gpt2/resolve/main/{name}",)
    )


MNIST = DatasetEntry(
    name="mnist",
    title="handwritten digits: 60,000 + 10,000 grey images of 28×28, 10 classes",
    licence="CC BY-SA 3.0",
    files=(
        _mnist("train-images-idx3-ubyte.gz", 9_912_422),
        _mnist("train-labels-idx1-ubyte.gz", 28_881),
        _mnist("t10k-images-idx3-ubyte.gz", 1_648_877),
        _mnist("t10k-labels-idx1-ubyte.gz", 4_542),
    ),
    check="workloads.formats.idx:check",
    homepage="http://yann.lecun.com/exdb/mnist/",
    note=_UNKNOWN_SUMS,
)

FASHION_MNIST = DatasetEntry(
    name="fashion-mnist",
    title="clothes: 60,000 + 10,000 grey images of 28×28, 10 classes",
    licence="MIT",
    files=(
        _fashion(
            "train-images-idx3-ubyte.gz",
            26_421_856,
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        ),
        _fashion(
            "train-labels-idx1-ubyte.gz", 29_491, "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"
        ),
        _fashion(
            "t10k-images-idx3-ubyte.gz", 4_422_079, "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"
        ),
        _fashion(
            "t10k-labels-idx1-ubyte.gz", 5_125, "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"
        ),
    ),
    check="workloads.formats.idx:check",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
)

CIFAR10 = DatasetEntry(
    name="cifar10",
    title="small photographs: 50,000 + 10,000 colour images of 32×32, 10 classes, binary version",
    licence="no licence stated; published for research",
    files=(*(_cifar(f"data_batch_{k}.bin") for k in range(1, 6)), _cifar("test_batch.bin")),
    check="workloads.formats.cifar:check",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    note=_UNKNOWN_SUMS,
)

TINYSHAKESPEARE = DatasetEntry(
    name="tinyshakespeare",
    title="1.1 MB of Shakespeare's plays as plain text",
    licence="public domain",
    files=(
        DatasetFile(
            name="tinyshakespeare.txt",
            size=1_115_394,
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            urls=("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
        ),
    ),
    check="workloads.formats.text:check",
    homepage="https://github.com/karpathy/char-rnn",
)

FINEWEB = DatasetEntry(
    name="fineweb-gpt2",
    title="10 billion GPT-2 tokens of web text in shards of at most 200 MB, about 20 GB",
    licence="ODC-By 1.0",
    files=(
        _fineweb(FINEWEB_VALIDATION % 0),
        # The last shard is smaller, by how much is not on record: counted as next to nothing, it comes last.
        *(
            _fineweb(FINEWEB_TRAIN % k, 0 if k in FINEWEB_RESERVED else _FINEWEB_TOKENS)
            for k in range(1, FINEWEB_SHARDS)
        ),
        _fineweb(FINEWEB_TRAIN % FINEWEB_SHARDS, 1),
    ),
    check="workloads.formats.shards:check",
    homepage="https://huggingface.co/datasets/kjj0/fineweb10B-gpt2",
    note="no checksum is on record here: header, size and every token are checked, and later changes are noticed; "
    "`--tokens 1B` fetches so many training tokens and the three shards that are held out",
)

IMAGENET = DatasetEntry(
    name="imagenet",
    title="ILSVRC 2012: 1.28 million photographs, 1,000 classes, one folder per class below train and val",
    licence="ImageNet terms of access; everybody asks for their own copy",
    folders=("train", "val"),
    check="workloads.formats.imagefolder:check",
    homepage="https://www.image-net.org/download.php",
    note="the layout and the first bytes of each image are checked",
)

DATASETS = (MNIST, FASHION_MNIST, CIFAR10, TINYSHAKESPEARE, FINEWEB, IMAGENET)

"""The datasets of the workloads of AlgoRace, with their sources, licences and checksums."""

from __future__ import annotations

from harness.api import DatasetEntry, DatasetFile

FINEWEB_TRAIN = "fineweb_train_%06d.bin"
FINEWEB_VALIDATION = "fineweb_val_%06d.bin"
#: Number of training shards. A shard is one of the files into which the tokens are divided.
FINEWEB_SHARDS = 103
#: Training shards from which the splits `feedback` and `audit` are taken. No training pool contains these shards.
FINEWEB_RESERVED = (42, 43)
#: Number of tokens in the validation shard and in every training shard except the last.
FINEWEB_SHARD_TOKENS = 100_000_000
#: Size in bytes of a shard of `FINEWEB_SHARD_TOKENS` tokens: a header of 1,024 bytes, and two bytes per token.
FINEWEB_SHARD_BYTES = 1024 + 2 * FINEWEB_SHARD_TOKENS


def _idx(name: str, size: int, sha256: str, content_sha256: str, bases: tuple[str, ...]) -> DatasetFile:
    urls = tuple(f"{base}/{name}" for base in bases)
    return DatasetFile(name=name, size=size, sha256=sha256, content_sha256=content_sha256, urls=urls)


def _mnist(name: str, size: int, sha256: str, content_sha256: str) -> DatasetFile:
    bases = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
    return _idx(name, size, sha256, content_sha256, bases)


def _fashion(name: str, size: int, sha256: str, content_sha256: str) -> DatasetFile:
    bases = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    )
    return _idx(name, size, sha256, content_sha256, bases)


def _cifar(name: str) -> DatasetFile:
    return DatasetFile(
        name=name,
        size=30_730_000,
        urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        member=f"cifar-10-batches-bin/{name}",
    )


def _fineweb(name: str, tokens: int = 0, size: int = FINEWEB_SHARD_BYTES) -> DatasetFile:
    url = f"https://huggingface.co/datasets/kjj0/fineweb10B-gpt2/resolve/main/{name}"
    return DatasetFile(name=name, tokens=tokens, size=size, urls=(url,))


MNIST = DatasetEntry(
    name="mnist",
    title="handwritten digits: 60,000 + 10,000 grey images of 28×28, 10 classes",
    licence="CC BY-SA 3.0",
    files=(
        _mnist(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _mnist(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        _mnist(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _mnist(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    check="workloads.formats.idx:check",
    homepage="http://yann.lecun.com/exdb/mnist/",
)

FASHION_MNIST = DatasetEntry(
    name="fashion-mnist",
    title="clothes: 60,000 + 10,000 grey images of 28×28, 10 classes",
    licence="MIT",
    files=(
        _fashion(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        _fashion(
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        _fashion(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        _fashion(
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    check="workloads.formats.idx:check",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
)

CIFAR10 = DatasetEntry(
    name="cifar10",
    title="photographs: 50,000 + 10,000 colour images of 32×32, 10 classes, binary version",
    licence="no licence stated; published for research",
    files=(*(_cifar(f"data_batch_{k}.bin") for k in range(1, 6)), _cifar("test_batch.bin")),
    check="workloads.formats.cifar:check",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    note="no published checksum is known: size and format are checked, and later changes of the files are detected",
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
        # The last shard is smaller, and its size is unknown. It declares one token, so that `--tokens` selects it last.
        *(
            _fineweb(FINEWEB_TRAIN % k, 0 if k in FINEWEB_RESERVED else FINEWEB_SHARD_TOKENS)
            for k in range(1, FINEWEB_SHARDS)
        ),
        _fineweb(FINEWEB_TRAIN % FINEWEB_SHARDS, 1, size=0),
    ),
    check="workloads.formats.shards:check",
    homepage="https://huggingface.co/datasets/kjj0/fineweb10B-gpt2",
    note="no published checksum is known: header, size and every token are checked, and later changes are detected; "
    "`--tokens 1B` fetches one billion training tokens, and the three held-out shards",
)

IMAGENET = DatasetEntry(
    name="imagenet",
    title="ILSVRC 2012: 1.28 million photographs, 1,000 classes, one folder per class below train and val",
    licence="ImageNet terms of access; each user must request their own copy",
    folders=("train", "val"),
    check="workloads.formats.imagefolder:check",
    homepage="https://www.image-net.org/download.php",
    note="the layout and the first bytes of each image are checked",
)

DATASETS = (MNIST, FASHION_MNIST, CIFAR10, TINYSHAKESPEARE, FINEWEB, IMAGENET)

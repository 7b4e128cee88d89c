"""Random changes of bytes, JSON values and files, and values that programs often handle wrongly."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from fuzzing.case import CaseFile

#: Numbers at the limits of number types, and beyond them.
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 10**6, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400),
    *(0.5, -0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), -float("inf")),
)
#: Texts that terminals, shells, file systems or parsers may treat specially, and very long texts.
TEXTS: tuple[str, ...] = (
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\x1b[31mred\x1b[0m",
        "\r\n",
        "\n\n\n",
        "\t",
        "\x7f",
        "\x9b31m",
        "\u202eabc",
        "\u2028",
    ),
    *("é", "日本語", "😀", "e\u0301", "ﬀ", "١٢٣", "½", "²", "\ud800", "\udcff", "\ufeff", "I\u0307", "ß"),
    *(
        "-1",
        "0",
        "+1",
        "1e3",
        "1e309",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "0x10",
        "010",
        "1_000",
        "1.5",
        "1,2",
        "9" * 400,
    ),
    *(
        "true",
        "null",
        "None",
        "=1+1",
        "@x",
        "-",
        "--",
        "--help",
        "-h",
        "--=",
        "~",
        "..",
        "../..",
        "/nowhere",
        ".",
        "*",
        "?",
        "[",
    ),
    *(
        "%s",
        "%n",
        "{}",
        "{0}",
        "{x.__class__}",
        "$HOME",
        "`id`",
        "; id",
        "a:b",
        "a,b",
        ",",
        ":",
        "@",
        "#",
        "a@b#c",
        "a=b",
    ),
    *(
        "[red]x[/red]",
        "[/]",
        "<script>",
        "|",
        "\\",
        '"',
        "'",
        '"a',
        "a b",
        "tier:cpu",
        "tier:",
        "1e-3..1e-2",
        "..1",
        "1..",
    ),
    *(
        "x" * 300,
        "x" * 5000,
        "a," * 3000,
        "é" * 3000,
        "\x1b" * 2000,
        "(" * 2000,
        "[" * 3000,
        "../" * 1500,
        "x\n" * 1500,
    ),
)
#: Byte sequences that are not UTF-8, or that mean something to parsers or terminals.
BYTES: tuple[bytes, ...] = (
    *(
        b"\xff",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\x00",
        b"\x1b[2J",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\r",
        b"\n",
        b'"',
        b",",
    ),
    *(
        b"{",
        b"[",
        b"}",
        b"]",
        b":",
        b"- ",
        b"NaN",
        b"Infinity",
        b"1e999",
        b"9" * 50,
        b"&a ",
        b"*a",
        b"!!python/name:os ",
    ),
)


def odd_text(rng: random.Random) -> str:
    """Return a text that programs often handle wrongly, or two such texts joined."""
    text = rng.choice(TEXTS)
    return text if rng.random() < 0.8 else text + rng.choice(TEXTS)


def odd_value(rng: random.Random) -> Any:
    """Return a JSON value of any type."""
    match rng.randrange(6):
        case 0 | 1:
            return rng.choice(NUMBERS)
        case 2 | 3:
            return odd_text(rng)
        case 4:
            return rng.choice([None, True, False, [], {}, [[]], [None], {"": None}, [1, "a", None]])
        case _:
            value: Any = 0
            for _ in range(rng.choice([3, 100, 900])):
                value = [value] if rng.random() < 0.9 else {"a": value}
            return value


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one to three changes of its bytes."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        position = rng.randrange(len(changed) + 1)
        length = min(rng.choice([1, 2, 8, 64, 1024]), len(changed) - position)
        match rng.randrange(7):
            case 0 if changed:
                changed[min(position, len(changed) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                del changed[position:]
            case 2:
                changed[position:position] = rng.choice(BYTES)
            case 3:
                del changed[position : position + length]
            case 4:
                changed[position:position] = changed[position : position + length] * rng.choice([1, 2, 20])
            case 5:
                changed[position : position + length] = rng.randbytes(length)
            case _:
                changed[position:position] = rng.choice([b"[", b"{", b"(", b"[{"]) * rng.choice([10, 1500, 20_000])
    return bytes(changed)


def change_json(value: Any, rng: random.Random) -> Any:
    """Return a JSON value in which one place, chosen at random, was changed."""
    changed = copy.deepcopy(value)
    parent, key = _random_place(changed, rng)
    if parent is None:
        return odd_value(rng)
    match rng.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice([*TEXTS[:40], "schema", "version", "name"])] = odd_value(rng)
        case 2 if isinstance(parent, list):
            parent.extend([copy.deepcopy(parent[key]) for _ in range(rng.choice([1, 3, 300]))])
        case 3 if isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
            parent[key] = rng.choice([parent[key] + 1, -parent[key], parent[key] * 1e9, parent[key] + 0.5, *NUMBERS])
        case 4 if isinstance(parent[key], str):
            parent[key] = rng.choice([parent[key] + odd_text(rng), odd_text(rng) + parent[key], parent[key] * 300])
        case _:
            parent[key] = odd_value(rng)
    return changed


def _random_place(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """Choose a list or object in a JSON value, and one of its indexes or keys; (None, None) if there is none."""
    parent, key = None, None
    while isinstance(value, (dict, list)) and value:
        parent = value
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value = parent[key]
        if rng.random() < 0.15:
            break
    return parent, key


def write_json(value: Any, rng: random.Random) -> bytes:
    """Return a value as JSON, sometimes with a key that is given twice. NaN and Infinity are kept."""
    text = json.dumps(value, indent=rng.choice([None, 1]))
    if isinstance(value, dict) and value and rng.random() < 0.1:
        key = rng.choice(list(value))
        text = "{" + f"{json.dumps(key)}: {json.dumps(odd_value(rng))}, " + text.lstrip()[1:]
    return text.encode("utf-8", "surrogatepass")


def change_type(path: str, rng: random.Random) -> CaseFile:
    """Return a replacement of a file: a folder, pipe or link, or a file of unusual size or content."""
    return rng.choice(
        [
            CaseFile(path=path, type="folder"),
            CaseFile(path=path, type="fifo"),
            CaseFile(path=path, type="link", target=path.rpartition("/")[2]),
            CaseFile(path=path, type="link", target="/dev/zero"),
            CaseFile(path=path, type="link", target="missing"),
            CaseFile(path=path, type="sparse", size=300 << 20),
            CaseFile(path=path, type="sparse", content=b"{", size=1 << 40),
            CaseFile(path=path, content=b""),
            CaseFile(path=path, content=b"[" * 100_000),
            CaseFile(path=path, content=b'{"a":' * 100_000),
            CaseFile(path=path, content=rng.randbytes(1000)),
        ]
    )

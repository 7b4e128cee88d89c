"""Parse YAML strictly.

A mapping with two equal keys is an error; YAML readers would silently keep only the last value. A number that YAML does
not read in base 10 is an error, too: YAML 1.1 reads `010` as 8 and `1:30` as 90.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.errors import DamagedError, UsageError
from harness.system.files import MAX_CONFIGURATION_BYTES, describe_json_error, find_unusable_character, read_text


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file: mappings, lists and scalars.

    Raises:
        StoreError: the file cannot be read.
        DamagedError: the file is not a regular file, is too large, or is not YAML.
        UsageError: see `parse_yaml`.

    All messages contain the path.
    """
    text = read_text(path, limit=MAX_CONFIGURATION_BYTES)
    import yaml

    try:
        return parse_yaml(text)
    except UsageError as error:
        raise UsageError(f"{path}: {error.what}", fix=error.fix) from None
    # A scalar with an explicit tag, such as `!!timestamp x`, raises the error of the conversion.
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
        raise DamagedError(f"{path} is not YAML: {describe_json_error(error)}", fix="correct the file") from None


#: Integers and floats with digits in base 10.
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][+-]?[0-9]+)?|[+-]?\.[0-9_]+(?:[eE][+-][0-9]+)?")
#: Infinities and NaN. Numbers of YAML 1.1 that match neither pattern are refused.
_NOT_FINITE = re.compile(r"[+-]?\.(?:inf|nan)", re.IGNORECASE)


_MERGE_TAG = "tag:yaml.org,2002:merge"


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML document: mappings, lists and scalars.

    Raises:
        UsageError: a mapping has two equal keys, a finite number is not decimal, or a text contains a character that
            no file name can contain. The message contains the line.
        yaml.YAMLError: the text is not YAML.

    >>> parse_yaml("set: {lr: [0.001, 0.003]}")
    {'set': {'lr': [0.001, 0.003]}}
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """A loader that refuses mappings with two equal keys."""

    def construct_mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            # A merge key (`<<`) may be repeated, and the mapping's own keys override the merged ones.
            if key_node.tag == _MERGE_TAG:
                continue
            key = loader.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in values:
                value = loader.construct_object(value_node, deep=True)
                grid = [item for part in (values[key], value) for item in (part if isinstance(part, list) else [part])]
                raise UsageError(
                    f"{key} is given twice: {values[key]} and {value} (line {key_node.start_mark.line + 1})",
                    fix=f"keep one of them; a grid of hyperparameters is a list, set: {{{key}: {grid}}}",
                )
            if isinstance(key, str):
                values[key] = loader.construct_object(value_node, deep=True)
        loader.flatten_mapping(node)
        return dict(yaml.SafeLoader.construct_mapping(loader, node, deep=True))

    def construct_number(loader: Loader, node: yaml.ScalarNode) -> int | float:
        if not (_DECIMAL.fullmatch(node.value) or _NOT_FINITE.fullmatch(node.value)):
            raise UsageError(
                f"{node.value} is not a decimal number (line {node.start_mark.line + 1})",
                fix="write the number without leading zeros or colons, or as text in quotes",
            )
        is_integer = node.tag == "tag:yaml.org,2002:int"
        return loader.construct_yaml_int(node) if is_integer else loader.construct_yaml_float(node)

    def construct_text(loader: Loader, node: yaml.ScalarNode) -> str:
        text: str = loader.construct_yaml_str(node)
        if problem := find_unusable_character(text):
            line = node.start_mark.line + 1
            raise UsageError(f"a text contains {problem} (line {line})", fix="correct the text")
        return text

    Loader.add_constructor("tag:yaml.org,2002:str", construct_text)
    for tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        Loader.add_constructor(tag, construct_number)
    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct_mapping)
    return yaml.load(text, Loader)

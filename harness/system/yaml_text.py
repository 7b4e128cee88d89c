"""Parse YAML. A mapping with two equal keys is an error; YAML readers would silently keep only the last value."""

from __future__ import annotations

from typing import Any

from harness.errors import UsageError


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML document: mappings, lists and scalars.

    Raises:
        UsageError: a mapping has two equal keys. The message contains both values and the line of the second key.
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
            key = loader.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in values and key_node.tag != "tag:yaml.org,2002:merge":
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

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct_mapping)
    return yaml.load(text, Loader)

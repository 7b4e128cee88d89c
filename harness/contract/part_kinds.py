"""The table of the kinds of parts. Documentation and validation are derived from this table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from harness.contract.base import Data


class PartKind(Data, frozen=True, kw_only=True):
    """One kind of part.

    Args:
        name: name of the kind in entries. The field of `Recipe` for parts of this kind has the same name.
        title: heading of the section about this kind in the documentation.
        purpose: purpose of a part of this kind, in one line.
        arguments: names of the positional arguments of a part. Its hyperparameters are keyword arguments.
        called_with: the positional arguments of a part, in words.
        returns: the return value of a part, in words.
        implied_needs: needs that every part of this kind has, without declaring them (see
            `harness.contract.entries.NEEDS`).
        required: whether a submission that consists only of parts must have a part of this kind.
    """

    name: str
    title: str
    purpose: str
    arguments: tuple[str, ...]
    called_with: str
    returns: str
    implied_needs: frozenset[str] = frozenset()
    required: bool = False


_ROWS = (
    PartKind(
        name="optimizer",
        title="Optimizers",
        purpose="turns gradients into updates of the weights",
        arguments=("parameters",),
        called_with="a list of `Parameter(name, tensor, kind)`",
        returns="a torch optimizer, or several",
        required=True,
    ),
    PartKind(
        name="schedule",
        title="Learning-rate schedules",
        purpose="scales the learning rate at every update; without a schedule the rate is constant",
        arguments=("progress",),
        called_with="`Progress(step, horizon, examples, tokens, batch_size, task_index)`",
        returns="the learning-rate factor, or `Factors` (factors of learning rate and weight decay, and a momentum)",
    ),
    PartKind(
        name="averaging",
        title="Weight averaging",
        purpose="evaluates weights other than the trained ones, such as their average",
        arguments=("model",),
        called_with="the model",
        returns="an `Averager` with `update()`, `swapped()` and state",
    ),
    PartKind(
        name="order",
        title="Data order",
        purpose="chooses the examples of every batch from the pool",
        arguments=("task",),
        called_with="the task",
        returns="an `Order` with `take(n, examples)` (the indices of the next n examples) and state",
        implied_needs=frozenset({"pool"}),
    ),
    PartKind(
        name="replay",
        title="Replay",
        purpose="mixes stored examples of a stream into every batch",
        arguments=("task",),
        called_with="the task",
        returns="a `Replayer` with `mix(fresh, replay)`",
        implied_needs=frozenset({"replay"}),
    ),
    PartKind(
        name="gradient",
        title="Gradients",
        purpose="computes the gradients of an update, for example with two backward passes",
        arguments=("model", "task"),
        called_with="the model and the task",
        returns="a function (`work`, batch) that is called instead of `work.backward(batch)`",
    ),
    PartKind(
        name="penalty",
        title="Penalties",
        purpose="adds a term to the loss",
        arguments=("model",),
        called_with="the model",
        returns="a function that returns a term of the loss",
    ),
    PartKind(
        name="after_step",
        title="After the step",
        purpose="changes the weights after every update",
        arguments=("model",),
        called_with="the model",
        returns="a function that is called after every update",
    ),
)
#: Every kind by name. To add a kind, add a row to `_ROWS`, add a field to `Recipe`, and call the part in
#: `RecipeSubmission`.
PART_KINDS: Mapping[str, PartKind] = MappingProxyType({row.name: row for row in _ROWS})

if TYPE_CHECKING:
    PartKindName: TypeAlias = str
else:
    #: The name of a kind. msgspec validates entries against this type, which is built from the table.
    PartKindName = Literal[tuple(PART_KINDS)]

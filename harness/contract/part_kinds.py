"""The kinds of parts that a recipe is composed of: one table, from which everything else about kinds follows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from harness.contract.base import Data


class PartKind(Data, frozen=True, kw_only=True):
    """One kind of part.

    Args:
        name: how a plugin names the kind; also the field of `Recipe` that a part of this kind fills.
        title: the heading over its parts in the documents.
        purpose: what a part of this kind decides, one line.
        called_with: the arguments of the part, in addition to its hyperparameters.
        returns: what it returns.
        implied_needs: needs that every part of this kind has, declared or not (see `harness.contract.entries.NEEDS`).
        required: whether a submission that consists of parts alone must have one.
    """

    name: str
    title: str
    purpose: str
    called_with: str
    returns: str
    implied_needs: frozenset[str] = frozenset()
    required: bool = False


_ROWS = (
    PartKind(
        name="optimizer",
        title="Optimizers",
        purpose="turns gradients into updates of the weights",
        called_with="a list of `Parameter(name, tensor, kind)`",
        returns="a torch optimizer, or several",
        required=True,
    ),
    PartKind(
        name="schedule",
        title="Learning-rate schedules",
        purpose="scales the learning rate at every update; without one it is constant",
        called_with="`Progress(step, horizon, examples, tokens, batch_size, task_index)`",
        returns="the learning-rate factor, or `Factors`",
    ),
    PartKind(
        name="averaging",
        title="Weight averaging",
        purpose="evaluates other weights than those that are trained",
        called_with="the model",
        returns="an `Averager`: `update()`, `swapped()`, state",
    ),
    PartKind(
        name="order",
        title="Data order",
        purpose="chooses the examples of every batch from the pool",
        called_with="the task",
        returns="an `Order`: `take(n, examples)`, state",
        implied_needs=frozenset({"pool"}),
    ),
    PartKind(
        name="replay",
        title="Replay",
        purpose="mixes stored examples of a stream into every batch",
        called_with="the task",
        returns="a `Replayer`: `mix(fresh, buffer)`",
        implied_needs=frozenset({"replay"}),
    ),
    PartKind(
        name="gradient",
        title="Gradients",
        purpose="computes the gradients in place of one backward pass",
        called_with="the model and the task",
        returns="a function of `work` and a batch, in place of `work.backward(batch)`",
    ),
    PartKind(
        name="penalty",
        title="Penalties",
        purpose="adds a term to the loss",
        called_with="the model",
        returns="a function that returns a loss to add",
    ),
    PartKind(
        name="after_step",
        title="After the step",
        purpose="changes the weights after every update",
        called_with="the model",
        returns="a function called after every update",
    ),
)
#: Every kind by its name. A new kind is a new row here, and a field of `Recipe` that says when the part is called.
PART_KINDS: Mapping[str, PartKind] = MappingProxyType({row.name: row for row in _ROWS})

if TYPE_CHECKING:
    PartKindName: TypeAlias = str
else:
    #: The name of a kind: what an entry is decoded against follows from the table.
    PartKindName = Literal[tuple(PART_KINDS)]

"""The card of a resource: all facts about it, as data. `letta_source.plan.catalog` reads by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import TypeAdapter

from letta_source.schema.columns import Column
from letta_source.schema.tables import Table, child_tables, entity_table, message_table
from letta_source.schema.wire import has_rows

Walk = Literal[
    "list",
    "each_list",
    "run_list",
    "step_list",
    "batch_list",
    "each_parent",
    "each_step",
    "each_batch",
    "everything",
    "search",
    "step_item",
]
"""How a resource is read.

"list": one list. "each_list": a list for each parent, whole each time. "each_parent": the messages of each
parent, each from its own cursor. "everything": one list of all messages, from its cursor. "search": one
request. "step_item": one object for each step, a request each. The others read runs, steps and batches, which
change until they are finished, and the items that hang from these.
"""
Params = Mapping[str, "str | int | tuple[str, ...]"]
"""Query parameters by name; one with several values is repeated."""


@dataclass(frozen=True)
class Resource:
    """One dlt resource.

    Attributes:
        family: The family of endpoints; a host has all of a family or none.
        path: The path of its items; the parent's id stands in braces.
        model: The shape of an item: a model, or a union of models.
        description: The description of its root table.
        walk: How it is read.
        method: POST for a search.
        params: Parameters of each request.
        parts: Parameters of each of the lists that together hold all items.
        nil_cursor: An id that no item has, sent as `after` with the first request of a list.
        oldest_first: True if a list without a parent comes oldest first where no order is asked for.
        page_size: Items per request, if the setting must not change it.
        parent: The column of the parent's id, if the rows have a parent.
        anchored_by: The parent's field that names an agent. The rows include the messages of its runs, and
            the ids of their last messages are anchors beyond an unreadable message.
        limited_by: How the list is limited to agents. "id": agents are read one by one, by id. "parameter":
            the server takes an `agent_id`. "items": only the items tell whose they are.
        fragile_include: The relation that is left out if the server cannot return an item with it.
        has_system_message: True if each parent's first message is a system message, edited in place.
        renumbered: True if the server renumbers a parent's messages: new ones take places before the cursor.
        changed_by: Fields that its list can be ordered by and that together tell what changed.
        undatable: True if items are edited and no date tells: each load lists all of them.
        dated: False if the items have no date of their own.
        always_whole: True if the server returns the whole list, or all items of a parent, each time.
        on_request: True if it is loaded only when asked for.
        needs: The setting that it cannot be read without, and which asks for it.
        no_agents: Why it cannot be limited to agents, if it cannot.
        absent: What a load does if the host lacks the family.
        wrapped_in: The field of an item that holds the message; the ranks are beside it.
        agent_column: The column that names a row's agent, if the table has it.
        agent_via: The column that references another table, which has the agent instead.
        agents_in: The resource whose rows, by the same ids, name the one or more agents that have an item.
        date_via: The column that references another table, which has the date instead.
    """

    name: str
    family: str
    path: str
    model: Any
    description: str
    walk: Walk
    method: Literal["GET", "POST"] = "GET"
    params: Params = field(default_factory=dict)
    parts: tuple[Params, ...] = ({},)
    nil_cursor: str | None = None
    oldest_first: bool = False
    page_size: int | None = None
    parent: Column | None = None
    anchored_by: str | None = None
    limited_by: Literal["id", "parameter", "items"] = "items"
    fragile_include: str = ""
    has_system_message: bool = False
    renumbered: bool = False
    changed_by: tuple[str, ...] = ()
    undatable: bool = False
    dated: bool = True
    always_whole: bool = False
    on_request: bool = False
    needs: str | None = None
    no_agents: str | None = None
    absent: str = "skipped"
    wrapped_in: str | None = None
    agent_column: str = "agent_id"
    agent_via: str | None = None
    agents_in: str | None = None
    date_via: str | None = None

    @property
    def endpoint(self) -> str:
        """Method and path, as in the API reference."""
        return f"{self.method} {self.path}"

    @property
    def parents(self) -> str | None:
        """The resource whose items are the parents of its rows."""
        return self.parent.references.partition(".")[0] if self.parent and self.parent.references else None

    @property
    def hangs_from_agents(self) -> bool:
        """True if its parents are agents: each item belongs to the agent that it was listed for."""
        return self.parents == "agents"

    @property
    def divided(self) -> bool:
        """True if each shard reads it for its own parents; shard 0 alone reads the other resources."""
        return self.parents is not None

    @property
    def is_walked(self) -> bool:
        """True if each parent's messages are one walk with its own cursor.

        For items of runs, steps and batches the cursor is that of their list, which may name one twice.
        """
        return self.walk == "each_parent"

    @property
    def is_of_batches(self) -> bool:
        """True if its items are batches or hang from them; the server lists no finished batch."""
        return self.walk in ("batch_list", "each_batch")

    @property
    def is_timeless(self) -> bool:
        """True if its items are loaded in their current state, whatever the window."""
        return self.walk in ("list", "each_list")

    @property
    def tells_gone(self) -> bool:
        """True if items missing from a parent's list are gone: not all can be requested by their ids."""
        return self.walk == "each_list"

    @cached_property
    def has_messages(self) -> bool:
        """True if its rows are items of messages, with children."""
        return has_rows(self.model)

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Validator of an item as the server sends it: `adapter.validate_python(item)`."""
        return TypeAdapter(self.model)

    @cached_property
    def root(self) -> Table:
        """The table that its items go to."""
        if self.has_messages:
            return message_table(self.name, self.description, self.model, self.parent)
        return entity_table(self.name, self.description, self.model, self.parent)

    @cached_property
    def children(self) -> Mapping[str, Table] | None:
        """The child tables by the field that they hold; None if its rows are not messages."""
        return child_tables(self.name, self.parent) if self.has_messages else None

    @property
    def tables(self) -> tuple[Table, ...]:
        """The root table, then its children."""
        return (self.root, *(self.children or {}).values())

    def path_of(self, item_id: str) -> str:
        """Return the path of one of its items, or of the messages of one parent."""
        if self.parent and self.parents:
            return self.path.format_map({self.parent.name: item_id})
        return f"{self.path.rstrip('/')}/{item_id}"

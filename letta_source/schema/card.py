"""The card of a resource: all that is true of it, as data; `letta_source.plan.catalog` reads by it."""

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

"list": a list, whole each time. "each_list": a list of each item of a list, whole each time. "each_parent":
the messages of each item of a list, each from its cursor on.
"everything": one list of messages, from its cursor on. "search": one request. "step_item": one object of each
step, a request each. The others are of runs, steps and batches, which change until they are finished, and of
what hangs from these.
"""
Params = Mapping[str, "str | int | tuple[str, ...]"]
"""Of a query, by name; one with several values is repeated."""


@dataclass(frozen=True)
class Resource:
    """One dlt resource.

    Attributes:
        family: Of endpoints; a host has all of a family or none.
        path: Where its items come from; the parent's id stands in braces.
        model: The shape of an item: a model, or a union of models.
        description: Of its root table.
        walk: How it is read.
        method: POST for what a search finds.
        params: Sent with each request.
        parts: Parameters of each of the lists that are all items together.
        nil_cursor: An id that no item has, sent as `after` with the first request of a list.
        page_size: Messages a request, where the setting must not change it.
        parent: The column that names what the rows hang from, if they hang from something.
        anchored_by: The parent's field that names an agent whose runs' messages are among the rows: the ids
            of their last messages lead past an unreadable one.
        limited_by: How the list is limited to agents: the agents are read one by one, by their "id"; the
            server takes a "parameter" `agent_id`; or only its "items" tell whose they are.
        fragile_include: The relation without which an item is read where the server cannot give it otherwise.
        has_system_message: It is the first message of each parent, and is edited in place.
        changed_by: Fields that its list can be ordered by, and that tell together what changed.
        undatable: Its items are edited and no date tells: each load lists all of them.
        dated: False if the items have no date of their own.
        always_whole: The server gives the whole list, or all that hangs from a parent, each time.
        on_request: It is loaded only if it is asked for.
        needs: The setting without which it cannot be read, and which asks for it.
        no_agents: Why it cannot be limited to agents, if it cannot.
        absent: What a load does where the host lacks the family.
        wrapped_in: The field of an item that holds the message, beside its ranks.
        agent_column: The column that names a row's agent, if the table has it.
        agent_via: The column that names a row of another table, which has the agent instead.
        agents_in: The resource whose rows, by the same ids, name the agents that have an item, maybe several.
        date_via: The same for the date.
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
    page_size: int | None = None
    parent: Column | None = None
    anchored_by: str | None = None
    limited_by: Literal["id", "parameter", "items"] = "items"
    fragile_include: str = ""
    has_system_message: bool = False
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
        """Method and path, as a reader looks them up."""
        return f"{self.method} {self.path}"

    @property
    def parents(self) -> str | None:
        """The resource whose items its rows hang from."""
        return self.parent.references.partition(".")[0] if self.parent and self.parent.references else None

    @property
    def hangs_from_agents(self) -> bool:
        """True if each item belongs to the agent that its list was asked of."""
        return self.parents == "agents"

    @property
    def divided(self) -> bool:
        """True if all shards read it, each its parents; shard 0 reads the others."""
        return self.parents is not None

    @property
    def is_walked(self) -> bool:
        """True if each parent's messages are one walk with its own cursor.

        Of what hangs from runs, steps and batches the cursor is that of their list, which may name one twice.
        """
        return self.walk == "each_parent"

    @property
    def is_timeless(self) -> bool:
        """True if its items are loaded as they are now, whatever the window."""
        return self.walk in ("list", "each_list")

    @property
    def tells_gone(self) -> bool:
        """True if what a parent's list lacks is gone: not all of its items can be asked for by their ids."""
        return self.walk == "each_list"

    @cached_property
    def has_messages(self) -> bool:
        """True if its rows are items of messages, with children."""
        return has_rows(self.model)

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Validates an item as the server sends it: `adapter.validate_python(item)`."""
        return TypeAdapter(self.model)

    @cached_property
    def root(self) -> Table:
        """The table that its items go to."""
        if self.has_messages:
            return message_table(self.name, self.description, self.model, self.parent)
        return entity_table(self.name, self.description, self.model, self.parent)

    @cached_property
    def children(self) -> Mapping[str, Table] | None:
        """The child tables by the field that they hold; None if its rows are no messages."""
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

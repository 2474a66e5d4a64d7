"""The cards of all resources, and with them every table.

A new resource takes a model and a card. Its tables, dlt's hints, the documentation, the dbt package,
`letta-source discover` and the flattening are derived from them.
"""

from __future__ import annotations

from collections.abc import Iterator

from letta_source.models import (
    Agent,
    Archive,
    Batch,
    Block,
    Conversation,
    Group,
    Identity,
    LettaMessage,
    Message,
    Passage,
    Run,
    SearchHit,
    Step,
    StepMetrics,
    Tool,
)
from letta_source.schema.card import Params, Resource
from letta_source.schema.columns import Column, text
from letta_source.schema.tables import LOAD_ISSUES, Table

# With the default rendering, the items depend on where the pages are cut.
_LOSSLESS: Params = {"use_assistant_message": "false"}
# Without it, hosts that filter leave out the messages of failed steps.
_WITH_ERRORS: Params = {"include_err": "true"}
# The relations that are columns. By default the server sends all relations, 26 kB per agent instead of 4.
# If asked for some, it leaves out the others.
_RELATIONS = ("agent.tags", "agent.identities", "agent.pending_approval", "agent.managed_group")
# Without `use_assistant_message` (steps, conversations, all messages) a fixed page size keeps items stable.
FIXED_PAGE = 1000


def _parent(name: str, description: str, references: str | None = None) -> Column:
    return text(name, description, nullable=False, references=references)


_CARDS = (
    Resource(
        "agents",
        "agents",
        "/v1/agents/",
        Agent,
        "Agents, current state.",
        "list",
        # Hidden agents have messages, too.
        params={"include": _RELATIONS, "show_hidden_agents": "true"},
        # It holds the agent's newest message, which may be unreadable.
        fragile_include="agent.pending_approval",
        limited_by="id",
        changed_by=("updated_at",),
        agent_column="id",
    ),
    Resource(
        "groups",
        "groups",
        "/v1/groups/",
        Group,
        "Multi-agent groups, current state.",
        "list",
        params={"show_hidden_groups": "true"},
        oldest_first=True,
    ),
    Resource(
        "runs",
        "runs",
        "/v1/runs/",
        Run,
        "Runs: one call of an agent each, with one or more steps.",
        "run_list",
        limited_by="parameter",
    ),
    Resource(
        "steps",
        "steps",
        "/v1/steps/",
        Step,
        "Steps: one call of a model each; its run has the date. Self-hosted servers list them by run.",
        "step_list",
        limited_by="parameter",
        dated=False,
        absent="read through runs",
        date_via="run_id",
    ),
    Resource(
        "conversations",
        "conversations",
        "/v1/conversations/",
        Conversation,
        "Conversations, current state.",
        "list",
        # By default, Cloud leaves out archived ones, which include those between agents.
        params={"archive_status": "all"},
        changed_by=("last_message_at", "created_at"),
        limited_by="parameter",
    ),
    Resource(
        "batches",
        "batches",
        "/v1/messages/batches",
        Batch,
        "Batches: many agents' turns sent to a provider at once.",
        "batch_list",
        always_whole=True,
    ),
    Resource(
        "agent_messages",
        "agents",
        "/v1/agents/{agent_id}/messages",
        LettaMessage,
        "Messages by agent, from all its conversations. One stored message is one or more rows.",
        "each_parent",
        params={**_LOSSLESS, **_WITH_ERRORS},
        has_system_message=True,
        parent=_parent("agent_id", "The agent whose messages were read.", "agents.id"),
        anchored_by="id",
    ),
    Resource(
        "group_messages",
        "groups",
        "/v1/groups/{group_id}/messages",
        LettaMessage,
        "Messages by group.",
        "each_parent",
        params=_LOSSLESS,
        parent=_parent("group_id", "The group whose messages were read.", "groups.id"),
        anchored_by="manager_agent_id",
    ),
    Resource(
        "step_messages",
        "steps",
        "/v1/steps/{step_id}/messages",
        LettaMessage,
        "Messages by step; the API renders them differently from those of agents.",
        "each_step",
        page_size=FIXED_PAGE,
        parent=_parent("step_id", "The step whose messages were read.", "steps.id"),
        agent_via="step_id",
    ),
    Resource(
        "batch_messages",
        "batches",
        "/v1/messages/batches/{batch_id}/messages",
        Message,
        "Messages by batch.",
        "each_batch",
        parent=_parent("batch_id", "The batch whose messages were read.", "batches.id"),
        always_whole=True,
    ),
    Resource(
        "conversation_messages",
        "conversations",
        "/v1/conversations/{conversation_id}/messages",
        LettaMessage,
        "Messages by conversation; a forked one shares messages with its origin.",
        "each_parent",
        params=_WITH_ERRORS,
        page_size=FIXED_PAGE,
        has_system_message=True,
        renumbered=True,
        parent=_parent("conversation_id", "The conversation whose messages were read.", "conversations.id"),
        on_request=True,
        agent_via="conversation_id",
    ),
    Resource(
        "messages",
        "messages",
        "/v1/messages/",
        LettaMessage,
        "Messages of all agents; the API names no agent.",
        "everything",
        page_size=FIXED_PAGE,
        on_request=True,
        no_agents="the API does not say whose they are: use agent_messages",
    ),
    Resource(
        "message_search",
        "search",
        "/v1/messages/search",
        SearchHit,
        "Hits of a message search (Cloud only).",
        "search",
        method="POST",
        parent=_parent("query", "What was searched for."),
        always_whole=True,
        on_request=True,
        needs="search_query",
        wrapped_in="message",
    ),
    Resource(
        "blocks",
        "blocks",
        "/v1/blocks/",
        Block,
        "Memory blocks and block templates, current state.",
        "list",
        params={"show_hidden_blocks": "true"},
        oldest_first=True,
        # The first list has no templates, the second only templates.
        parts=({}, {"templates_only": "true"}),
        undatable=True,
        on_request=True,
        no_agents="the API does not say whose they are: use agent_blocks",
        agents_in="agent_blocks",
    ),
    Resource(
        "agent_blocks",
        "agent_blocks",
        "/v1/agents/{agent_id}/core-memory/blocks",
        Block,
        "Memory blocks by agent, current state; agents may share one. One request per agent.",
        "each_list",
        parent=_parent("agent_id", "The agent in whose prompt it stands.", "agents.id"),
        on_request=True,
    ),
    Resource(
        "step_metrics",
        "step_metrics",
        "/v1/steps/{id}/metrics",
        StepMetrics,
        "Time of each step's model and tool calls. One request per step; repeated for unfinished runs.",
        "step_item",
        parent=_parent("id", "The step.", "steps.id"),
        on_request=True,
        date_via="run_id",
    ),
    Resource(
        "tools",
        "tools",
        "/v1/tools/",
        Tool,
        "Tools, current state.",
        "list",
        # On a self-hosted server, the first page writes: unless it has all of Letta's own tools, the server
        # stores these again. With a cursor it does not, and it ignores an unknown cursor.
        nil_cursor="tool-00000000-0000-4000-8000-000000000000",
        undatable=True,
        on_request=True,
        no_agents="they are the organization's",
    ),
    Resource(
        "identities",
        "identities",
        "/v1/identities/",
        Identity,
        "People and organizations that agents belong to, current state.",
        "list",
        undatable=True,
        on_request=True,
        # On a self-hosted server, `agent_ids` is empty.
        no_agents="the API does not say whose they are: agents.identity_ids does",
    ),
    Resource(
        "archives",
        "archives",
        "/v1/archives/",
        Archive,
        "Archives, current state.",
        "list",
        limited_by="parameter",
        undatable=True,
        on_request=True,
    ),
    Resource(
        "passages",
        "passages",
        "/v1/agents/{agent_id}/archival-memory",
        Passage,
        "Passages by agent, current state, without their vectors. One or more requests per agent.",
        # Read whole each time: a cursor on a deleted passage gives an empty page, as at the end.
        "each_list",
        page_size=100,  # Vectors make up most of a page.
        parent=_parent("agent_id", "The agent that can look it up.", "agents.id"),
        on_request=True,
    ),
)

RESOURCES: dict[str, Resource] = {card.name: card for card in _CARDS}
"""The cards by name, in reading order: later resources use the lists of earlier ones."""


def list_of_family() -> dict[str, Resource]:
    """Map each family of endpoints to the resource whose list shows whether a host has it."""
    return {card.family: card for card in RESOURCES.values() if card.method == "GET" and not card.parent}


def all_tables() -> Iterator[Table]:
    """Yield every table, a root before its children."""
    for resource in RESOURCES.values():
        yield from resource.tables
    yield LOAD_ISSUES

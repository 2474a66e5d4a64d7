"""The cards of all resources, and with them every table.

Adding a resource is a model and a card. Its tables, dlt's hints, the documentation, the dbt package,
`letta-source discover` and the flattening follow.
"""

from __future__ import annotations

from collections.abc import Iterator

from letta_source.models import (
    Agent,
    Batch,
    Conversation,
    Group,
    LettaMessage,
    Message,
    Run,
    SearchHit,
    Step,
)
from letta_source.schema.card import Params, Resource
from letta_source.schema.columns import Column, text
from letta_source.schema.tables import LOAD_ISSUES, Table

# With the default rendering, which items come back depends on where the pages fall.
_LOSSLESS: Params = {"use_assistant_message": "false"}
# A host that filters leaves out the messages of failed steps.
_WITH_ERRORS: Params = {"include_err": "true"}
# The relations that are columns. By default the server sends all there are, 26 kB an agent instead of 4; of
# those that it is not asked for it sends nothing.
_RELATIONS = ("agent.tags", "agent.identities", "agent.pending_approval", "agent.managed_group")
# Steps, conversations and all messages have no `use_assistant_message`: a fixed page size makes it the same.
FIXED_PAGE = 1000


def _parent(name: str, description: str, references: str | None = None) -> Column:
    return text(name, description, nullable=False, references=references)


_CARDS = (
    Resource(
        "agents",
        "agents",
        "/v1/agents/",
        Agent,
        "Agents, as they are now.",
        "list",
        # Hidden agents talk too.
        params={"include": _RELATIONS, "show_hidden_agents": "true"},
        # It holds the agent's newest message, which the server may not be able to render.
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
        "Multi-agent groups, as they are now.",
        "list",
        params={"show_hidden_groups": "true"},
    ),
    Resource(
        "runs",
        "runs",
        "/v1/runs/",
        Run,
        "Runs: one call of an agent, of one or more steps.",
        "run_list",
        limited_by="parameter",
    ),
    Resource(
        "steps",
        "steps",
        "/v1/steps/",
        Step,
        "Steps: one call of a model. They have no date, their run has; self-hosted, it lists them.",
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
        "Conversations, as they are now.",
        "list",
        # Cloud leaves archived ones out, those between agents among them.
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
        "Messages by agent, those of all its conversations. One stored message is one or more rows.",
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
        "Messages by step; the API renders them unlike those of agents.",
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
        "What a search finds (Cloud only).",
        "search",
        method="POST",
        parent=_parent("query", "What was searched for."),
        always_whole=True,
        on_request=True,
        needs="search_query",
        wrapped_in="message",
    ),
)

RESOURCES: dict[str, Resource] = {card.name: card for card in _CARDS}
"""The cards by name, in the order in which they are read: later ones know what earlier ones listed."""


def list_of_family() -> dict[str, Resource]:
    """Map each family of endpoints to the resource whose list tells whether a host has it."""
    lists = [card for card in RESOURCES.values() if card.method == "GET" and not card.parent]
    return {card.family: card for card in lists}


def all_tables() -> Iterator[Table]:
    """Yield every table, a root before its children."""
    for resource in RESOURCES.values():
        yield from resource.tables
    yield LOAD_ISSUES

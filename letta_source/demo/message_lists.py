"""The lists of messages: each endpoint pages, orders and renders them in its own way."""

from __future__ import annotations

from typing import Any, Literal

from .calls import Call, check_id, row_of
from .index import Tied
from .pages import Listing, Problem, read_page
from .renderings import Text, UnreadableMessageError, render
from .shapes import Json
from .store import Message

_FALSE = ("false", "False", "0")
_FALSE_OR_NONE = (None, *_FALSE)


def readable(call: Call, message_ids: list[str]) -> list[Message]:
    """Return stored messages; fail as the server does if one of them cannot be rendered."""
    for message_id in message_ids:
        if message_id in call.letta.poisoned:
            raise UnreadableMessageError(call.letta.poisoned[message_id])
    return [call.letta.messages.rows[message_id] for message_id in message_ids]


def _letta_messages(
    call: Call,
    parent: str,
    listing: Listing,
    *,
    text: Text,
    reverse_items: bool = False,
    lossless: bool = False,
    desc: Literal["newest first", "oldest first", "items too"],
) -> list[Json]:
    """Return the items of a page of one parent's messages.

    Args:
        call: The request.
        parent: The kind of list.
        listing: How it is paged.
        text: The kind of message that an answer's text becomes.
        reverse_items: True if the items of one id come last first, in either order.
        lossless: True if use_assistant_message=false is understood.
        desc: The effect of order=desc on a self-hosted page: messages come newest first, oldest first after
            all, or newest first with the items of each reversed, too.
    """
    letta = call.letta
    index = letta.list_of(parent, call.parent_id) if parent else letta.messages

    def rank(message_id: str) -> Any:
        if parent == "conversation":
            # A cursor that no longer exists is not noticed here: the list begins anew. What shares its number
            # is skipped.
            found = index.rank(message_id)
            return found and Tied(found[0])
        message = letta.messages.rows.get(message_id)
        if message is None:
            owner = call.parent_id if parent == "agent" else None
            if parent in ("step", "group"):
                raise Problem(404, f"No Message found with id {message_id}")
            raise Problem(404, f"No message found with id '{message_id}' for agent '{owner}'.")
        return (message.created_at, message.id) if parent in ("step", "group") else message.sequence

    page = read_page(index, listing, call.params, call.cloud, rank)
    messages = readable(call, page.ids)
    if (
        call.cloud
        and parent in ("agent", "conversation")
        and call.params.get("include_err") in _FALSE_OR_NONE
    ):
        messages = [message for message in messages if not message.items[0].get("is_err")]
    if page.newest_first and not call.cloud and desc == "oldest first":
        messages = messages[::-1]
    return render(
        [message.items for message in messages],
        text=text,
        use_assistant_message=not (lossless and call.params.get("use_assistant_message") in _FALSE),
        reverse_items=reverse_items or (page.newest_first and (call.cloud or desc == "items too")),
    )


def agent_messages(call: Call) -> list[Json]:
    """Return a page of an agent's messages."""
    row_of(call, "agents", "Agent")
    listing = Listing(100, "desc", "absolute")
    return _letta_messages(call, "agent", listing, text="as stored", lossless=True, desc="oldest first")


def group_messages(call: Call) -> list[Json]:
    """Return a page of a group's messages; with a manager, those of the manager in this group."""
    if row_of(call, "groups", "Group")["manager_agent_id"]:
        listing = Listing(10, "desc", "absolute")
        return _letta_messages(
            call, "managed group", listing, text="as stored", lossless=True, desc="oldest first"
        )
    # Without a manager, the server does not pass the order on: always ascending.
    ascending = Listing(10, "asc", "absolute", fixed_order=True)
    return _letta_messages(
        call, "group", ascending, text="reasoning", reverse_items=True, lossless=True, desc="newest first"
    )


def run_messages(call: Call) -> list[Json]:
    """Return a page of a run's messages."""
    row_of(call, "runs", "Run")
    return _letta_messages(call, "run", Listing(100, "asc", "absolute"), text="as stored", desc="items too")


def step_messages(call: Call) -> list[Json]:
    """Return a page of a step's messages; an unknown step has none and is not an error."""
    check_id(call.parent_id, "Step")
    listing = Listing(100, "asc", "relative")
    return _letta_messages(call, "step", listing, text="reasoning", reverse_items=True, desc="newest first")


def conversation_messages(call: Call) -> list[Json]:
    """Return a page of a conversation's messages; an unknown one has none and is not an error."""
    check_id(call.parent_id, "Conversation")
    listing = Listing(100, "desc", "absolute")
    return _letta_messages(call, "conversation", listing, text="assistant", desc="newest first")


def all_messages(call: Call) -> list[Json]:
    """Return a page of the messages of all agents."""
    return _letta_messages(call, "", Listing(100, "desc", "absolute"), text="assistant", desc="oldest first")


def message(call: Call) -> list[Json]:
    """Return the items of one message, of any agent."""
    if call.parent_id not in call.letta.messages.rows:
        raise Problem(404, f"No message found with id '{call.parent_id}'")
    [message] = readable(call, [call.parent_id])
    return render([message.items], text="as stored", use_assistant_message=True, reverse_items=False)


def batch_messages(call: Call) -> Json:
    """Return a page of a batch's messages, in the server's own shape."""
    batch = row_of(call, "batches", "Job")
    if "after" in call.params:
        # The server fails on its own cursor.
        raise Problem(500, "An unknown error occurred")
    params = {name: value for name, value in call.params.items() if name != "before"}
    index = call.letta.list_of("batch", batch["id"])
    page = read_page(index, Listing(100, "desc", "absolute"), params, call.cloud, index.rank)
    return {"messages": [message.internal() for message in readable(call, page.ids)]}

"""Render a conversation as Markdown, in which no message can look like another speaker's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from letta_source.safe_text import visible

if TYPE_CHECKING:
    from letta_source.export.transcript import Conversation, Message, Part

# What begins a tag, a comment or a declaration of HTML.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def document(conversation: Conversation) -> str:
    """Return the document; other people's text is quoted line by line."""
    title = f"# {_without_html(visible(conversation.agent_name or 'Agent'))} ({_name(conversation.agent_id)})"
    if conversation.conversation_id:
        title += f"\n\nConversation: {_name(conversation.conversation_id)}"
    said = [_message(message) for message in conversation.messages()]
    return "\n\n".join([title, *(said or ["No messages."])])


def _message(message: Message) -> str:
    body = "\n\n".join(text for part in message.parts for text in _paragraphs(part))
    head = f"**{_name(message.speaker)}** · {message.time}"
    return f"{head}\n\n{_cited(body)}" if body else head


def _paragraphs(part: Part) -> Iterator[str]:
    if part.label:
        label = enumerate(part.label)
        # A mark such as `*` is no mark in code.
        yield "".join(f"`{_code(one, '`')}`" if at % 2 else _without_html(one) for at, one in label)
    if part.text is not None:
        text = part.text if part.kind == "block" else _without_html(part.text)
        yield _quoted(text) if part.kind == "block" else f"*{text}*" if part.kind == "thought" else text


def _cited(body: str) -> str:
    """Quote each line; CR and other characters that may count as line ends are made visible."""
    lines = visible(body.replace("\r\n", "\n"), keep="\n\t").split("\n")
    return "\n".join(f"> {line}" if line else ">" for line in lines)


def _without_html(text: str) -> str:
    """Return text whose tags and comments are shown, not obeyed, where Markdown is rendered.

    `</blockquote>` would end the quote, so that what follows imitates another speaker, and `<!--` would hide
    all that comes after. A backslash would not do, since the text may have one before it.
    """
    return _TAG.sub("&lt;", text)


def _name(name: str) -> str:
    """Return a name without Markdown marks of its own, to stand between ours."""
    return _without_html(_code(name))


def _code(name: str, marks: str = "*`") -> str:
    """Return a name without these marks, so that it cannot end the span that it stands in."""
    return re.sub(f"[{marks}]", "'", visible(name))


def _quoted(text: str) -> str:
    """Return a block that its text cannot end: the fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"

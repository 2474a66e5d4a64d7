"""Render a conversation as an HTML page: no script, no request, and a policy that forbids both."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from letta_source.safe_text import visible

if TYPE_CHECKING:
    from letta_source.export.transcript import Conversation, Message, Part

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 0 auto; padding: 1rem }}
body {{ overflow-wrap: anywhere }}
article {{ border-left: 3px solid light-dark(#ccc, #555); padding-left: .8rem; margin: 1rem 0 }}
h2 {{ font-size: 1rem; margin: 0 }} time {{ font-weight: normal; opacity: .7 }}
p, pre {{ white-space: pre-wrap; margin: .4rem 0 }} .thought {{ font-style: italic; opacity: .8 }}
pre {{ padding: .5rem; background: light-dark(#f4f4f4, #222); max-height: 30rem; overflow: auto }}
</style>
</head>
<body>
<h1>{title}</h1>
"""


def page(conversation: Conversation) -> str:
    """Return the page; other people's text is escaped, never markup."""
    title = f"{conversation.agent_name or 'Agent'} ({conversation.agent_id})"
    lines = [_HEAD.format(title=_text(title))]
    if conversation.conversation_id:
        lines.append(f"<p>Conversation: {_text(conversation.conversation_id)}</p>")
    articles = [_article(message) for message in conversation.messages()]
    return "\n".join([*lines, *(articles or ["<p>No messages.</p>"]), "</body>\n</html>"])


def _article(message: Message) -> str:
    head = f"<h2>{_text(message.speaker)} <time>{_text(message.time)}</time></h2>"
    return "\n".join(
        ["<article>", head, *(line for part in message.parts for line in _part(part)), "</article>"]
    )


def _part(part: Part) -> Iterator[str]:
    if part.label:
        label = "".join(
            f"<code>{_text(one)}</code>" if at % 2 else _text(one) for at, one in enumerate(part.label)
        )
        yield f"<p>{label}</p>"
    if part.text is not None:
        # A line break at the beginning of <pre> is not shown.
        tag, text = ("pre", f"\n{_text(part.text)}") if part.kind == "block" else ("p", _text(part.text))
        yield f'<{tag} class="{part.kind}">{text}</{tag}>'


def _text(text: str) -> str:
    return escape(visible(text.replace("\r\n", "\n"), keep="\n\t"))

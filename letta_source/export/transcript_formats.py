"""Render a conversation as Markdown or as an HTML page; no message can look like another speaker's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from letta_source.safe_text import visible

if TYPE_CHECKING:
    from letta_source.export.transcript import Conversation, Message, Part

# The start of an HTML tag, comment or declaration.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
# The policy of the page forbids scripts and requests.
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


def markdown(conversation: Conversation) -> str:
    """Return Markdown; other people's text is quoted line by line."""
    title = f"# {_without_html(visible(conversation.agent_name or 'Agent'))} ({_name(conversation.agent_id)})"
    if conversation.conversation_id:
        title += f"\n\nConversation: {_name(conversation.conversation_id)}"
    sections = [_section(message) for message in conversation.messages()]
    return "\n\n".join([title, *(sections or ["No messages."])])


def _section(message: Message) -> str:
    body = "\n\n".join(text for part in message.parts for text in _paragraphs(part))
    head = f"**{_name(message.speaker)}** · {message.time}"
    return f"{head}\n\n{_cited(body)}" if body else head


def _paragraphs(part: Part) -> Iterator[str]:
    if part.label:
        label = enumerate(part.label)
        # In code, a mark such as `*` has no effect.
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


def html_page(conversation: Conversation) -> str:
    """Return an HTML page; other people's text is escaped, never markup."""
    title = f"{conversation.agent_name or 'Agent'} ({conversation.agent_id})"
    lines = [_HEAD.format(title=_escaped(title))]
    if conversation.conversation_id:
        lines.append(f"<p>Conversation: {_escaped(conversation.conversation_id)}</p>")
    articles = [_article(message) for message in conversation.messages()]
    return "\n".join([*lines, *(articles or ["<p>No messages.</p>"]), "</body>\n</html>"])


def _article(message: Message) -> str:
    head = f"<h2>{_escaped(message.speaker)} <time>{_escaped(message.time)}</time></h2>"
    return "\n".join(
        ["<article>", head, *(line for part in message.parts for line in _elements(part)), "</article>"]
    )


def _elements(part: Part) -> Iterator[str]:
    if part.label:
        label = "".join(
            f"<code>{_escaped(one)}</code>" if at % 2 else _escaped(one) for at, one in enumerate(part.label)
        )
        yield f"<p>{label}</p>"
    if part.text is not None:
        # A line break at the beginning of <pre> is not shown.
        tag, begin = ("pre", "\n") if part.kind == "block" else ("p", "")
        yield f'<{tag} class="{part.kind}">{begin}{_escaped(part.text)}</{tag}>'


def _escaped(text: str) -> str:
    return escape(visible(text.replace("\r\n", "\n"), keep="\n\t"))

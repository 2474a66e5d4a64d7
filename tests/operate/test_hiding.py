"""Values that a mask or a limit hides are not compared; all others are."""

from __future__ import annotations

from typing import Any

import pytest

from letta_source.operate.value_differences import Hiding
from letta_source.rows.mask import Mask
from letta_source.schema.resources import RESOURCES
from letta_source.settings.masking import Masking
from tests.support.wire import settings

MESSAGES = RESOURCES["agent_messages"]
TEXT = next(column for column in MESSAGES.root.columns if column.name == "text")


@pytest.mark.parametrize(
    ("sent", "held", "hidden"),
    [
        ("abcdefghijkl", "abcdefghij", True),
        # The limit is in bytes, and no character is cut in two.
        ("\u00e9" * 6, "\u00e9" * 5, True),
        ("\N{GRINNING FACE}" * 3, "\N{GRINNING FACE}" * 2, True),
        (
            "ab\N{GRINNING FACE}\N{GRINNING FACE}\N{GRINNING FACE}",
            "ab\N{GRINNING FACE}\N{GRINNING FACE}",
            True,
        ),
        # An earlier version cut elsewhere.
        ("abcdefghi", "abcdefghij", True),
        ("abcdefghijkl", "abcde", False),
        ("\u00e9" * 6, "\u00e9" * 2, False),
        ("abcdefghijkl", "abcdefghiX", False),
        ("abcdefghijkl", None, False),
    ],
)
def test_only_a_text_at_the_limit_counts_as_truncated(sent: str, held: str | None, hidden: bool) -> None:
    hiding = Hiding(MESSAGES, settings(), {"1": ""}, longest=10)
    assert hiding.hides("agent_messages", TEXT, "1", sent, held) == hidden
    without = Hiding(MESSAGES, settings(), {"1": ""})
    assert not without.hides("agent_messages", TEXT, "1", sent, held)


@pytest.mark.parametrize(
    "layers",
    [
        # A `keep` of a less specific place cancels nothing of a more specific one, however exact its name.
        [("as given", {"content": "redact"}), ("SOURCES__LETTA__MASK", {"text": "keep"})],
        # A `keep` of a more specific place cancels more exact names, too.
        [("as given", {"content": "keep"}), ("SOURCES__LETTA__MASK", {"text": "redact"})],
        [("as given", {"text": "keep"}), ("A", {"content": "redact"}), ("B", {"text": "redact"})],
        [("mask in /a (b)/reasoning=keep (c)/config.toml", {"text": "drop"}), ("other", {"text": "keep"})],
    ],
)
def test_masks_of_several_places_hide_what_they_hid_in_the_load(layers: list[Any]) -> None:
    masking = Masking(layers, images="drop")
    masked = Mask(MESSAGES, settings().model_copy().found({}, masking)).hidden("agent_messages")
    hiding = Hiding(MESSAGES, settings(), {"1": str(masking)})
    hidden = {
        column.name
        for column in MESSAGES.root.columns
        if column.type == "text" and hiding.hides("agent_messages", column, "1", "sent", "held")
    }
    assert hidden == {column.name for column in MESSAGES.root.columns if column.type == "text"} & masked


@pytest.mark.parametrize(
    ("sent", "held", "hidden"),
    [
        (f"hmac-sha256:{'a' * 64} 60 bytes", f"hmac-sha256:{'b' * 64} 60 bytes", True),
        (f"hmac-sha256:{'a' * 64} 60 bytes", f"sha256:{'b' * 64} 60 bytes", True),
        (f"hmac-sha256:{'a' * 64} 61 bytes", f"hmac-sha256:{'b' * 64} 60 bytes", False),
        (f"look: sha256:{'a' * 64} 60 bytes", f"see: sha256:{'b' * 64} 60 bytes", False),
        (f"sha256:{'a' * 64} 60 bytes", None, False),
        ("new", "old", False),
    ],
)
def test_an_image_that_was_hashed_with_another_key_is_no_difference(
    sent: str, held: str | None, hidden: bool
) -> None:
    hiding = Hiding(MESSAGES, settings(images="hash"), {"1": "images=hash (as given)"})
    assert hiding.hides("agent_messages", TEXT, "1", sent, held) == hidden

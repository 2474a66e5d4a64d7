"""Values that a mask or a limit hides are not compared; all others are."""

from __future__ import annotations

import pytest

from letta_source.operate.value_differences import Hiding
from letta_source.schema.resources import RESOURCES
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

"""Deprecated singular fields stand in for the plurals that an item lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from letta_source.rows.messages import _approvals, _tool_calls, _tool_returns

ONE, TWO = {"tool_call_id": "call-1"}, {"tool_call_id": "call-2"}


def test_a_singular_call_stands_in_item_by_item() -> None:
    plural, singular = [[ONE], None, []], [TWO, TWO, None]
    assert _tool_calls({"tool_calls": plural, "tool_call": singular}) == [[ONE], [TWO], []]
    assert _tool_calls({"tool_call": [TWO, None]}) == [[TWO], []]
    assert _tool_calls({"tool_calls": [[ONE], [TWO]], "tool_call": [TWO, ONE]}) == [[ONE], [TWO]]
    assert _tool_calls({"tool_calls": [ONE, None]}) == [[ONE], []]


def test_a_singular_return_stands_in_item_by_item() -> None:
    fields: dict[str, Sequence[Any]] = {
        "tool_return": ["done", "failed", None],
        "status": ["success", "error", None],
        "name": ["x"] * 3,
    }
    plural = [[ONE], None, None]
    made = {"tool_return": "failed", "status": "error"}
    found = _tool_returns({"tool_returns": plural, **fields})
    assert (found[0], found[2]) == ([ONE], [])
    assert [made.items() <= one.items() for one in found[1]] == [True]
    assert [len(one) for one in _tool_returns(fields)] == [1, 1, 0]
    assert _tool_returns({"tool_returns": [[ONE]] * 3, **fields}) == [[ONE]] * 3
    assert _tool_returns({"tool_returns": plural, "tool_return": [None] * 3}) == [[ONE], [], []]


def test_a_singular_approval_stands_in_item_by_item() -> None:
    fields: dict[str, Sequence[Any]] = {
        "approve": [True, False, None],
        "approval_request_id": ["message-1", "message-2", "message-3"],
        "denial_reason": ["a", "b", "c"],
        "name": ["x"] * 3,
    }
    denied = {"tool_call_id": "message-2", "type": "approval", "approve": False, "reason": "b"}
    assert _approvals({"approvals": [[ONE], None, None], **fields}) == [[ONE], [denied], []]
    approved = {**denied, "tool_call_id": "message-1", "approve": True, "reason": "a"}
    assert _approvals(fields) == [[approved], [denied], []]
    assert _approvals({"approvals": [[ONE]] * 3, **fields}) == [[ONE]] * 3
    assert _approvals({"approvals": [[ONE], None, None], "approve": [None] * 3}) == [[ONE], [], []]
    # The newer name of the reason counts.
    assert _approvals({**fields, "reason": ["d", "e", "f"]})[1] == [{**denied, "reason": "e"}]

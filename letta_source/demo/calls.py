"""A routed request, and the row that its path names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .letta import Letta
from .pages import Problem, not_found
from .shapes import Json
from .store import Kind

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Call:
    """A routed request."""

    letta: Letta
    cloud: bool
    params: Mapping[str, str]
    body: Any = None
    parent_id: str = ""


def row_of(call: Call, kind: Kind, name: str) -> Json:
    """Return the row that the path names.

    Raises:
        Problem: 422 or 400 for a malformed id, 404 for an unknown one.
    """
    check_id(call.parent_id, name)
    row = call.letta.tables[kind].rows.get(call.parent_id)
    if row is None:
        raise Problem(404, "Agent not found") if name == "Agent" else not_found(name, call.parent_id)
    return row


def check_id(row_id: str, name: str) -> None:
    """Refuse a malformed id, as the real server does: runs and jobs with 400, the others with 422.

    Raises:
        Problem: The id does not have the form of its kind.
    """
    prefix = {"Conversation": "conv", "StepMetrics": "step"}.get(name, name.lower())
    if re.fullmatch(f"{prefix}-{_UUID}", row_id):
        return
    if name in ("Run", "Job"):
        raise Problem(400, f"Invalid {prefix} ID format: {row_id}. Expected format: '{prefix}-<uuid4>'")
    error = {
        "type": "string_pattern_mismatch",
        "loc": ("path", f"{name.lower()}_id"),
        "msg": f"String should match pattern '{prefix}-{{uuid4}}'",
        "input": row_id,
        "ctx": {"pattern": f"^{prefix}-{_UUID}$"},
    }
    examples = [f"{prefix}-123e4567-e89b-42d3-8456-426614174000"]
    raise Problem(422, {"trace_id": "", "detail": repr([error]), "examples": examples})

"""Letta's conversations in your warehouse: a dlt source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from letta_source.source import letta

__all__ = ["letta"]


def __getattr__(name: str) -> Any:
    # dlt takes a second to import: `letta-source --help` does without.
    if name == "letta":
        from letta_source.source import letta

        return letta
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

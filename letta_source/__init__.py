"""Letta's conversations in your warehouse: a dlt source."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from letta_source.errors import ConfigError, LettaError
    from letta_source.loading.outcome import Loaded, LoadFailed
    from letta_source.loading.run import Load, load
    from letta_source.source import letta

_MODULES = {
    "ConfigError": "errors",
    "LettaError": "errors",
    "Load": "loading.run",
    "LoadFailed": "loading.outcome",
    "Loaded": "loading.outcome",
    "letta": "source",
    "load": "loading.run",
}

__all__ = ["ConfigError", "LettaError", "Load", "LoadFailed", "Loaded", "letta", "load"]


def __getattr__(name: str) -> Any:
    # dlt takes a second to import: `letta-source --help` does without.
    if name in _MODULES:
        return getattr(import_module(f"letta_source.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

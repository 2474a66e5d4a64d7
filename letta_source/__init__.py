"""Letta's conversations in your warehouse: a dlt source.

`__all__` is the public surface, with `letta_source.export` and `letta_source.models`; all else is internal.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from letta_source.errors import ConfigError, LettaError
    from letta_source.loading.dataset import open_dataset
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
    "open_dataset": "loading.dataset",
}

__all__ = ["ConfigError", "LettaError", "Load", "LoadFailed", "Loaded", "letta", "load", "open_dataset"]


def __getattr__(name: str) -> Any:
    # Imported late, as dlt takes a second to import and `letta-source --help` does not need it.
    if name in _MODULES:
        return getattr(import_module(f"letta_source.{_MODULES[name]}"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("dlt-source-letta")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Moved(ModuleType):
    """`letta_source.run`, documented in version 0.1: its names moved here. Version 0.3 will remove it."""

    def __getattr__(self, name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        warnings.warn(f"{self.__name__}.{name} is letta_source.{name} now", DeprecationWarning, stacklevel=2)
        return globals()["__getattr__"](name)


sys.modules["letta_source.run"] = _Moved("letta_source.run")

"""Write dlt's configuration files, and have dlt read them again."""

from __future__ import annotations

from pathlib import Path

from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext


def configure(folder: Path, config: str | bytes, secrets: str = "") -> None:
    """Write a folder's `.dlt/config.toml` and `.dlt/secrets.toml`, and have dlt forget those it read."""
    (folder / ".dlt").mkdir(exist_ok=True)
    (folder / ".dlt" / "config.toml").write_bytes(config if isinstance(config, bytes) else config.encode())
    (folder / ".dlt" / "secrets.toml").write_text(secrets, encoding="utf-8")
    forget()


def forget() -> None:
    """Have dlt read its files again."""
    container = Container()
    if PluggableRunContext in container:
        del container[PluggableRunContext]

"""Folders of this checkout that the tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "letta_source" / "demo" / "recordings"

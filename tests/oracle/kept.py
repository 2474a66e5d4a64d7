"""Readers of the stored results."""

from __future__ import annotations

import json
import lzma
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.oracle.dumps import Json, Page, Rows

FOLDER = Path(__file__).parent / "cc101f0"


@cache
def schema() -> Json:
    """Return the dump of `dumps.schema_dump`, with that of dlt's tables under "dlt"."""
    kept: Json = json.loads(_text("schema.json"))
    return kept


def pages() -> Iterator[tuple[Page, dict[str, Rows]]]:
    """Yield each page with its rows by table."""
    for line in _text("rows.jsonl").split("\n"):
        if line:
            kept = json.loads(line)
            yield Page(**kept["page"]), kept["rows"]


def warehouses() -> Json:
    """Return the final "rows" of warehouses, by name, and the requests ("asked") of each case."""
    found: Json = json.loads(_text("warehouses.json"))
    return found


def unpack(name: str, folder: Path) -> None:
    """Unpack the warehouse and dlt's folder as a case left them."""
    with tarfile.open(FOLDER / archive_name(name)) as archive:
        archive.extractall(folder, filter="data")


def archive_name(case: str) -> str:
    return f"{case.replace(' ', '_')}.tar.xz"


def _text(name: str) -> str:
    return lzma.decompress((FOLDER / f"{name}.xz").read_bytes()).decode()


def differences(kept: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yield a line for each place where they differ; keys that only `found` has are no difference.

    So columns, tables and hints may be added, but not changed.
    """
    if isinstance(kept, dict) and isinstance(found, dict):
        for key, value in kept.items():
            if key in found:
                yield from differences(value, found[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: {_short(value)} is gone"
    elif isinstance(kept, list) and isinstance(found, list) and len(kept) == len(found):
        for at, (one, other) in enumerate(zip(kept, found, strict=True)):
            yield from differences(one, other, f"{path}[{at}]")
    # Compared by repr: 1, 1.0 and true differ, 0.0 and -0.0 differ, and NaN equals NaN.
    elif repr(kept) != repr(found):
        yield f"{path}: {_short(kept)} became {_short(found)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}…"

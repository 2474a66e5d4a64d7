"""The default for the memory that a load may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

MOST = 512_000_000
LEAST = 64_000_000
# A control group of this many bytes or more leaves enough room for `MOST`.
_ROOMY = 1_000_000_000


def default_memory(root: Path = Path("/")) -> int:
    """Return 512 MB, or half the limit of this process's control group if below 1 GB, but at least 64 MB.

    Args:
        root: root of the file system.
    """
    limit = min(_limits(root), default=_ROOMY)
    return MOST if limit >= _ROOMY else max(LEAST, limit // 2)


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of this process's control groups and their ancestors, versions 1 and 2."""
    groups = root / "sys/fs/cgroup"
    for folder, path, name in _groups(root):
        own = PurePosixPath("/", path)
        for above in (own, *own.parents):
            # In a container the path is often the host's, and only its root is visible.
            with suppress(OSError, ValueError):
                yield int((groups / folder / above.relative_to("/") / name).read_text("ascii"))


def _groups(root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the hierarchy's folder, the group's path and the name of the limit's file."""
    lines: list[str] = []
    with suppress(OSError, ValueError):
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield "", path, "memory.max"
        elif "memory" in controllers.split(","):
            yield "memory", path, "memory.limit_in_bytes"

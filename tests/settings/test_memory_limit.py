"""A load's memory limit is lower where its control group has a limit below 1 GB."""

from __future__ import annotations

from pathlib import Path

import pytest

from letta_source.settings.memory_limit import LEAST, MOST, default_memory

V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, MOST),
        ("0::/\n", {f"{V2}/memory.max": "max\n"}, MOST),
        ("0::/\n", {f"{V2}/memory.max": "2147483648\n"}, MOST),
        ("0::/\n", {f"{V2}/memory.max": "536870912\n"}, 268435456),
        ("0::/\n", {f"{V2}/memory.max": "20000000\n"}, LEAST),
        ("0::/a/b\n", {f"{V2}/a/memory.max": "600000000\n", f"{V2}/a/b/memory.max": "max"}, 300_000_000),
        # A container sees its own group as the root.
        ("0::/kubepods/pod1\n", {f"{V2}/memory.max": "400000000\n"}, 200_000_000),
        ("4:cpu:/\n5:memory:/x\n", {f"{V1}/x/memory.limit_in_bytes": "900000000\n"}, 450_000_000),
        ("5:hugetlb,memory:/\n0::/\n", {f"{V1}/memory.limit_in_bytes": "500000000"}, 250_000_000),
        ("5:memory:/\n", {f"{V1}/memory.limit_in_bytes": "9223372036854771712\n"}, MOST),
        ("5:cpu:/\n", {f"{V1}/memory.limit_in_bytes": "500000000"}, MOST),
        ("0::/\n", {f"{V2}/memory.max": "lots"}, MOST),
        ("no groups\n", {f"{V2}/memory.max": "\xff"}, MOST),
    ],
)
def test_half_of_a_small_control_group(
    tmp_path: Path, groups: str, files: dict[str, str], expected: int
) -> None:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert default_memory(tmp_path) == expected


def test_without_control_groups(tmp_path: Path) -> None:
    assert default_memory(tmp_path) == MOST

"""Shards of the parents: each parent is in one of 64 fixed buckets, and each bucket goes to one shard."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

BUCKETS = 64


def bucket_of(parent_id: str) -> int:
    """Return an id's bucket, 0 to 63; always the same, on every machine."""
    return zlib.crc32(parent_id.encode()) % BUCKETS


@dataclass(frozen=True)
class Shard:
    """One of `count` shards that load in parallel; `index` counts from 0. Shard 0 also loads the parents."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that a text such as `2/4` names.

        Raises:
            ValueError: it names none.
        """
        if not (match := re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)):
            raise ValueError("must be INDEX/COUNT, such as 0/4")
        shard = cls(int(match[1]), int(match[2]))
        if not 1 <= shard.count <= BUCKETS:
            raise ValueError(f"must be one of 1 to {BUCKETS} shards")
        if shard.index >= shard.count:
            raise ValueError(f"is counted from 0: the last is {shard.count - 1}/{shard.count}")
        return shard

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def is_whole(self) -> bool:
        """True if there is only one shard."""
        return self.count == 1

    @property
    def buckets(self) -> range:
        """The buckets of this shard."""
        return range(self.index, BUCKETS, self.count)

    def owns(self, parent_id: str) -> bool:
        """Return True if the parent belongs to this shard."""
        return self.is_whole or bucket_of(parent_id) % self.count == self.index


WHOLE = Shard(0, 1)

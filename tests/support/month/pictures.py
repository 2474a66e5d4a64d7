"""Small PNG pictures."""

from __future__ import annotations

import base64
import struct
import zlib
from random import Random
from typing import Any

_WIDTH, _HEIGHT = 48, 32


def image_part(random: Random, file_id: str) -> dict[str, Any]:
    """Return a message part with a picture in base64, as the server sends it."""
    # A few bands of colour: like a screenshot from far away, and small once compressed.
    bands = [bytes(random.randrange(256) for _ in range(3)) for _ in range(4)]
    rows = b"".join(b"\0" + bands[y * len(bands) // _HEIGHT] * _WIDTH for y in range(_HEIGHT))
    head = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data) for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    source = {"type": "letta", "file_id": file_id, "media_type": "image/png", "detail": None}
    return {"type": "image", "source": {**source, "data": base64.b64encode(png).decode()}}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

"""Write the month that the package holds."""

from __future__ import annotations

import gzip

from letta_source.demo.recorded import MONTH

from . import lines_of, played_month

if __name__ == "__main__":
    content = "".join(f"{line}\n" for line in lines_of(played_month()))
    # Without a time, so that the same month is the same file.
    MONTH.write_bytes(gzip.compress(content.encode(), mtime=0))

"""The scheduled load: `python pipelines/letta_pipeline.py`, as often as you like.

The key and the server come from LETTA_API_KEY and LETTA_BASE_URL, or from dlt's config and secrets; the
destination from DESTINATION, DuckDB by default.
"""

from __future__ import annotations

import os
import sys

from letta_source.run import Load, load


def main() -> int:
    loaded = load(Load(destination=os.environ.get("DESTINATION", "duckdb")))
    return 3 if loaded.session.problems else 0


if __name__ == "__main__":
    sys.exit(main())

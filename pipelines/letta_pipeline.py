"""The scheduled load: run `python pipelines/letta_pipeline.py` as often as you like.

It completes what an earlier load left pending, then adds what is new. The API key and the server come from
LETTA_API_KEY and LETTA_BASE_URL, or from dlt's config and secrets; options are those of `letta-source run`.
"""

from __future__ import annotations

import sys

from letta_source.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))

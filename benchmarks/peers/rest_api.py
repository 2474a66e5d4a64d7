"""Load with dlt's generic rest_api source into DuckDB.

Usage: rest_api.py URL DATABASE [STRATEGY]

With a strategy it merges, otherwise it appends.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import dlt
from dlt.sources.rest_api import rest_api_source
from dlt.sources.rest_api.typing import RESTAPIConfig

url, database, *strategy = sys.argv[1:]
config: RESTAPIConfig = {
    "client": {
        "base_url": url,
        "paginator": {
            "type": "cursor",
            "cursor_path": "[-1].id",
            "cursor_param": "after",
            "stop_after_empty_page": True,
        },
    },
    "resource_defaults": {"primary_key": "id", "parallelized": True},
    "resources": [
        {"name": "agents", "endpoint": {"path": "v1/agents/", "params": {"limit": 1000, "order": "asc"}}},
        {
            "name": "agent_messages",
            "primary_key": ["id", "message_type"],
            "endpoint": {
                "path": "v1/agents/{resources.agents.id}/messages",
                "params": {"limit": 1000, "order": "asc", "use_assistant_message": "false"},
            },
            "include_from_parent": ["id"],
        },
    ],
}
pipeline = dlt.pipeline(
    "rest_api", destination=dlt.destinations.duckdb(database), dataset_name="letta_rest_api"
)
pipeline.run(
    rest_api_source(config, max_table_nesting=1),
    loader_file_format="parquet",
    write_disposition={"disposition": "merge", "strategy": cast(Any, strategy[0])} if strategy else "append",
)

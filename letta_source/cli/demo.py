"""`letta-source demo`: the whole way, from the small Letta that comes with the package."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import add_command
from letta_source.errors import ExitCode

if TYPE_CHECKING:
    from letta_source.loading.outcome import Loaded

_NAME, _DATASET, _FILE = "letta_demo", "letta", "letta_demo.duckdb"
_SAMPLE = """
    SELECT message_type, coalesce(text, reasoning, call.said, answer.said)
    FROM {messages} AS message
    LEFT JOIN (
        SELECT message_id, position, string_agg(name || ' ' || arguments, ', ' ORDER BY idx) AS said
        FROM {calls} GROUP BY ALL
    ) AS call ON (call.message_id, call.position) = (message.id, message.position)
    LEFT JOIN (
        SELECT message_id, position, string_agg(tool_return, ', ' ORDER BY idx) AS said
        FROM {returns} GROUP BY ALL
    ) AS answer ON (answer.message_id, answer.position) = (message.id, message.position)
    WHERE run_id IS NOT NULL AND message.agent_id = (
        SELECT id FROM {agents} WHERE agent_type = 'letta_v1_agent' ORDER BY created_at LIMIT 1
    )
    ORDER BY message.created_at, message.sequence
    LIMIT 14
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "load a small Letta that is in the package: needs no server, no key"
    add_command(commands, "demo", demo, summary)


def demo(options: argparse.Namespace) -> int:
    """Load it into DuckDB and print what came of it."""
    from letta_source.cli.progress import Progress
    from letta_source.demo import recorded_letta, serve
    from letta_source.loading.run import Load, load

    with serve(recorded_letta()) as server:
        # Given, so that the user's own are not taken: settings here, the destination by its name.
        theirs = {"project": "", "agent_ids": [], "headers": {}, "proxy": "none"}
        settings = {"base_url": server.base_url, "api_key": "demo", **theirs}
        what = Load(settings, (), "duckdb", _DATASET, _NAME, destination_name=_NAME, database=_FILE)
        loaded = load(what, Progress)
    print(loaded.summary())
    print(f"\nTables in {_FILE}, schema {_DATASET}:\n\n{_tables(loaded)}")
    print(f"\nA conversation:\n\n{_conversation(loaded)}")
    print(
        "\nLook closer:\n\n"
        f"  letta-source export agent_messages --database {_FILE} --output messages.parquet\n"
        f"  letta-source report --database {_FILE}\n"
        "\nNext, your own server:\n\n"
        "  LETTA_API_KEY=… letta-source run\n"
        "  letta-source run --base-url http://localhost:8283"
    )
    return ExitCode.OK


def _tables(loaded: Loaded) -> str:
    from letta_source.loading.outcome import aligned

    with loaded.pipeline.sql_client() as client:
        rows = []
        for name in loaded.pipeline.default_schema.data_table_names():
            counted = client.execute_sql(f"SELECT count(*) FROM {client.make_qualified_table_name(name)}")
            rows.append((f"  {name}", f"{counted[0][0]:,}" if counted else "0"))
    return aligned(("  table", "rows"), rows)


def _conversation(loaded: Loaded) -> str:
    with loaded.pipeline.sql_client() as client:
        names = {
            "agents": "agents",
            "messages": "agent_messages",
            "calls": "agent_messages__tool_calls",
            "returns": "agent_messages__tool_returns",
        }
        tables = {key: client.make_qualified_table_name(name) for key, name in names.items()}
        said = client.execute_sql(_SAMPLE.format(**tables)) or []
    return "\n".join(
        f"  {kind.removesuffix('_message'):<18} {textwrap.shorten(text or '', 80)}" for kind, text in said
    )

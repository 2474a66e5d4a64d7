"""`letta-source demo`: the whole way, from the small Letta that comes with the package."""

from __future__ import annotations

import textwrap

from letta_source.demo import recorded_letta, serve
from letta_source.report import columns, summary
from letta_source.run import Load, Loaded, load

_PIPELINE, _DATASET = "letta_demo", "letta"
_SAMPLE = """
    SELECT message_type, coalesce(text, reasoning, (
        SELECT string_agg(name || ' ' || coalesce(arguments, ''), ', ') FROM {calls} AS call
        WHERE call.agent_id = message.agent_id AND call.message_id = message.id AND call.position = message.position
    ), (
        SELECT string_agg(tool_return, ', ') FROM {returns} AS answer
        WHERE answer.agent_id = message.agent_id AND answer.message_id = message.id AND answer.position = message.position
    )) FROM {messages} AS message
    WHERE agent_id = (SELECT id FROM {agents} WHERE agent_type = 'letta_v1_agent' ORDER BY created_at LIMIT 1)
        AND run_id IS NOT NULL
    ORDER BY created_at, CASE message_type
        WHEN 'user_message' THEN 0 WHEN 'reasoning_message' THEN 1 WHEN 'tool_call_message' THEN 2
        WHEN 'tool_return_message' THEN 3 ELSE 4 END, position
    LIMIT 14
"""


def show() -> int:
    """Loads it into DuckDB and prints what came of it."""
    with serve(recorded_letta()) as server:
        settings = {"base_url": server.base_url, "api_key": "demo"}
        loaded = load(Load(settings, dataset_name=_DATASET, pipeline_name=_PIPELINE))
    print(summary(loaded.session, loaded.new))
    print(f"\nTables in {_PIPELINE}.duckdb, schema {_DATASET}:\n\n{_tables(loaded)}")
    print(f"\nA conversation:\n\n{_conversation(loaded)}")
    print(
        "\nNext, your own server:\n\n"
        "  LETTA_API_KEY=… letta-source run\n"
        "  letta-source run --base-url http://localhost:8283"
    )
    return 0


def _tables(loaded: Loaded) -> str:
    with loaded.pipeline.sql_client() as client:
        rows = []
        for name in loaded.pipeline.default_schema.data_table_names():
            counted = client.execute_sql(f"SELECT count(*) FROM {client.make_qualified_table_name(name)}")
            rows.append((f"  {name}", f"{counted[0][0]:,}" if counted else "0"))
    return columns(("  table", "rows"), rows)


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

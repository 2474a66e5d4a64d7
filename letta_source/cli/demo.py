"""The command `letta-source demo`: load a small Letta that comes with the package, and write a report."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import add_command
from letta_source.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from letta_source.loading.outcome import Loaded

_NAME, _DATASET, _FILE, _REPORT = "letta_demo", "letta", "letta_demo.duckdb", "letta_demo_report.html"
# A conversation in which a person was asked for approval.
_SAMPLE = """
    WITH chosen AS (
        SELECT runs.agent_id, runs.conversation_id
        FROM {messages} AS message JOIN {runs} AS runs ON runs.id = message.run_id
        WHERE message_type = 'approval_response_message' AND runs.conversation_id IS NOT NULL
        ORDER BY message.created_at LIMIT 1
    ),
    call AS (
        SELECT message_id, position, string_agg(name || ' ' || arguments, ', ' ORDER BY idx) AS texts
        FROM {calls} GROUP BY ALL
    ),
    answer AS (
        SELECT message_id, position, string_agg(tool_return, ', ' ORDER BY idx) AS texts
        FROM {returns} GROUP BY ALL
    )
    SELECT
        message.agent_id, message_type,
        coalesce(
            text, reasoning, call.texts, answer.texts,
            CASE approve WHEN true THEN 'approved' WHEN false THEN 'denied: ' || coalesce(reason, '') END,
            (SELECT min(part.text) FROM {content} AS part WHERE part.message_id = message.id)
        )
    FROM {messages} AS message
    JOIN {runs} AS runs ON runs.id = message.run_id
    JOIN chosen USING (conversation_id)
    LEFT JOIN call ON (call.message_id, call.position) = (message.id, message.position)
    LEFT JOIN answer ON (answer.message_id, answer.position) = (message.id, message.position)
    ORDER BY message.created_at, message.sequence, message.position
    LIMIT 20
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "load made-up conversations and write a report; needs no server and no key"
    add_command(commands, "demo", demo, summary)


def demo(options: argparse.Namespace) -> int:
    """Load the demo into DuckDB, print the outcome, and write the report."""
    from letta_source.cli.progress import Progress
    from letta_source.demo import month_letta, serve
    from letta_source.loading.run import Load, load

    with serve(month_letta()) as server:
        # Set here, so that the user's own settings are not used; nor is the destination, by its name.
        theirs = {"project": "", "agent_ids": [], "headers": {}, "proxy": "none"}
        # Each run of the demo has its own port.
        settings = {"base_url": server.base_url, "api_key": "demo", "same_server": True, **theirs}
        what = Load(settings, (), "duckdb", _DATASET, _NAME, destination_name=_NAME, database=_FILE)
        loaded = load(what, Progress)
    print(loaded.summary())
    print(f"\nTables in {_FILE}, schema {_DATASET}:\n\n{_tables(loaded)}")
    agent_id, conversation = _conversation(loaded)
    command = typed_again()
    print(f"\nA conversation:\n\n{conversation}")
    print(
        "\nLook closer:\n\n"
        f"  {command} status --database {_FILE}\n"
        f"  {command} transcript {agent_id} --database {_FILE}\n"
        f"  {command} export agent_messages --database {_FILE} --output messages.parquet\n"
        f"  {command} export --format chat --database {_FILE} --output chats.jsonl\n"
        "\nNext, your own server:\n\n"
        f"  LETTA_API_KEY=… {command} run\n"
        f"  {command} run --base-url http://localhost:8283\n"
        f"\n{_report()}",
        flush=True,
    )
    return ExitCode.OK


def typed_again() -> str:
    """Return the command as it works in this folder: with its path if the environment is not activated."""
    import shlex
    import shutil
    import sys

    typed = sys.argv[0]
    is_ours = typed.endswith("letta-source") and shutil.which(typed)
    return shlex.quote(typed) if is_ours and not shutil.which("letta-source") else "letta-source"


def _report() -> str:
    """Write the report; return a text with its path, or with the missing extra."""
    from pathlib import Path

    from letta_source.cli.report import ReportOptions, write
    from letta_source.loading.target import Target
    from letta_source.report.drawing import assert_drawable

    try:
        assert_drawable()
    except ConfigError as missing:
        return f"No report: {missing}"
    target = Target(_NAME, "duckdb", _DATASET, destination_name=_NAME, database=_FILE).resolved()
    write(target, Path(_REPORT), ReportOptions(title="the demo"))
    return f"The report, to open in a browser:\n\n  {Path(_REPORT).resolve()}"


def _tables(loaded: Loaded) -> str:
    from letta_source.loading.outcome import aligned

    with loaded.pipeline.sql_client() as client:
        rows = []
        for name in loaded.pipeline.default_schema.data_table_names():
            counted = client.execute_sql(f"SELECT count(*) FROM {client.make_qualified_table_name(name)}")
            rows.append((f"  {name}", f"{counted[0][0]:,}" if counted else "0"))
    return aligned(("  table", "rows"), rows)


def _conversation(loaded: Loaded) -> tuple[str, str]:
    """Return the id of an agent and one of its conversations as text."""
    with loaded.pipeline.sql_client() as client:
        names = {
            "runs": "runs",
            "messages": "agent_messages",
            "content": "agent_messages__content",
            "calls": "agent_messages__tool_calls",
            "returns": "agent_messages__tool_returns",
        }
        tables = {key: client.make_qualified_table_name(name) for key, name in names.items()}
        rows = client.execute_sql(_SAMPLE.format(**tables)) or []
    return rows[0][0], "\n".join(
        f"  {kind.removesuffix('_message'):<18} {textwrap.shorten(text or '', 80)}" for _, kind, text in rows
    )

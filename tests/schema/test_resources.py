"""A resource is fully described by its card: a model and a card make a new one."""

from __future__ import annotations

import ast
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from runpy import run_path
from typing import Annotated, Any, get_args
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import Field, ValidationError

import letta_source
from docs import generate
from letta_source import letta
from letta_source.cli.discover import described
from letta_source.export.selection import agent_of, date_of
from letta_source.models import LettaMessage
from letta_source.models.base import CreatedAt, Id, Wire
from letta_source.models.marks import CLEAR, CONTENT, ref
from letta_source.plan.catalog import WALKS
from letta_source.rows.mask import check_mask
from letta_source.schema.card import Resource, Walk
from letta_source.schema.columns import text
from letta_source.schema.resources import RESOURCES
from letta_source.settings import make_settings
from tests.support.library_loads import Warehouse
from tests.support.paths import ROOT

PACKAGE = Path(letta_source.__file__).parent
# A report, a transcript and the demo show certain tables by name.
READERS = ("report", "export/transcript", "cli/demo", "demo", "schema")


class Note(Wire):
    """A made-up item."""

    id: Id
    agent_id: Annotated[str | None, ref("agents.id")] = Field(None, description="Whose note it is.")
    words: Annotated[str, CONTENT] = Field(description="What it says.")
    colour: Annotated[str | None, CLEAR] = Field(None, description="Its colour.")
    created_at: CreatedAt = None


NOTES = Resource("notes", "notes", "/v1/notes/", Note, "Notes, as they are now.", "list")
NOTE_MESSAGES = Resource(
    "note_messages",
    "notes",
    "/v1/notes/{note_id}/messages",
    LettaMessage,
    "Messages by note.",
    "each_parent",
    parent=text("note_id", "The note.", nullable=False, references="notes.id"),
    agent_via="note_id",
)
ITEMS: list[dict[str, Any]] = [
    {"id": "note-1", "words": "hello", "colour": "red", "created_at": "2026-01-02T03:04:05Z", "size": 3},
    {"id": "note-2", "agent_id": "agent-1", "words": "bye"},
]
MESSAGE = {
    "id": "message-1",
    "date": "2026-01-02T03:04:05+00:00",
    "message_type": "user_message",
    "content": "what is it?",
}
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "/v1/notes/": ITEMS,
    "/v1/notes/note-1/messages": [MESSAGE],
    "/v1/notes/note-2/messages": [],
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        found = [] if "after" in parse_qs(asked.query) else ANSWERS[asked.path]
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextmanager
def noted() -> Iterator[str]:
    """Serve notes; yield the server's URL."""
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def _two_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for card in (NOTES, NOTE_MESSAGES):
        monkeypatch.setitem(RESOURCES, card.name, card)


@pytest.mark.usefixtures("_two_more")
def test_a_new_resource_is_loaded(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with noted() as base_url:
        warehouse.pipeline.run(letta(base_url=base_url).with_resources("notes", "note_messages"))
    assert warehouse.tables() == [
        "load_issues",
        "note_messages",
        *(f"note_messages__{child}" for child in ("approvals", "content", "tool_calls", "tool_returns")),
        "notes",
    ]
    with warehouse.pipeline.sql_client() as client:
        notes = client.execute_sql(
            "SELECT id, agent_id, words, colour, extra->>'size' FROM notes ORDER BY id"
        )
        messages = client.execute_sql("SELECT note_id, id, text FROM note_messages")
        content = client.execute_sql("SELECT note_id, message_id, text FROM note_messages__content")
    assert notes == [("note-1", None, "hello", "red", "3"), ("note-2", "agent-1", "bye", None, None)]
    assert messages == content == [("note-1", "message-1", "what is it?")]


@pytest.mark.usefixtures("_two_more")
def test_a_new_resource_is_documented() -> None:
    assert [one["resource"] for one in described()][-2:] == ["notes", "note_messages"]
    assert "| `words` | text | content | What it says. |" in generate.page()
    assert "- `notes`: `words`, `extra`" in generate.page()
    made = {path.name: text for path, text in run_path(str(ROOT / "dbt" / "generate.py"))["files"]().items()}
    assert made["stg_letta__notes.sql"] == "{{ letta_staging('notes') }}\n"
    assert (
        "'notes': {'key': ['id'], 'columns': notes, 'parent': none, 'on': true}" in made["letta_schema.sql"]
    )
    assert 'name: words, description: "What it says."' in made["_letta__staging.yml"]
    check_mask(
        make_settings({"base_url": "http://localhost", "mask": "notes.words=drop,note_messages.text=redact"})
    )


@pytest.mark.usefixtures("_two_more")
def test_a_new_resource_can_be_validated_and_exported() -> None:
    assert NOTES.adapter.validate_python(ITEMS[0]).words == "hello"
    with pytest.raises(ValidationError, match="words"):
        NOTES.adapter.validate_python({"id": "note-3"})
    assert NOTES.root.primary_key == ("id",)
    assert (agent_of(NOTES.root), date_of(NOTES.root)) == ("agent_id", "created_at")
    assert agent_of(NOTE_MESSAGES.root) == ("note_id", "notes", "agent_id")


def test_each_kind_of_walk_has_one_job_finder() -> None:
    assert set(WALKS) == set(get_args(Walk)) == {card.walk for card in RESOURCES.values()}
    assert max(Counter(WALKS.values()).values()) == 1


def test_names_on_cards_exist() -> None:
    for card in RESOURCES.values():
        columns = {column.name: column for column in card.root.columns}
        assert card.parents is None or card.parents in RESOURCES
        assert (card.parents is not None) == ("{" in card.path)
        assert all(
            via in columns and columns[via].references for via in (card.agent_via, card.date_via) if via
        )
        if card.agents_in:
            other = RESOURCES[card.agents_in].root
            assert {"id", "agent_id"} <= {column.name for column in other.columns}
        assert card.needs is None or hasattr(make_settings({"base_url": "http://localhost"}), card.needs)
        for column in columns.values():
            if column.references:
                table, _, key = column.references.partition(".")
                assert key in {c.name for c in RESOURCES[table].root.columns}


def _is_public(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)


def _branches(path: Path) -> Iterator[str]:
    """Yield the resource names that a source file compares with or lists."""
    tree = ast.parse(path.read_text("utf-8"))
    public = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_public(node)]
    for node in ast.walk(tree):
        if node in public:
            continue
        held: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            held = [node.left, *node.comparators]
        elif isinstance(node, (ast.Set, ast.Tuple, ast.List)):
            held = [*node.elts]
        elif isinstance(node, ast.Dict):
            held = [*node.keys]
        for one in held:
            if isinstance(one, ast.Constant) and one.value in RESOURCES:
                yield f"{path.relative_to(PACKAGE)}:{one.lineno}: {one.value}"


def test_no_code_branches_by_resource_name() -> None:
    # Names of other things: fields of OpenAI's and ShareGPT's chats and of agents, and keys of the state,
    # of a report as JSON, and of an option's resources.
    other = {
        ("export/chat_formats.py", "messages"),
        ("export/chat_formats.py", "conversations"),
        ("state/changes.py", "agents"),
        ("cli/verify.py", "agents"),
        ("operate/row_search.py", "identities"),
        ("plan/filters.py", "batches"),
    }
    found = [
        branch
        for path in sorted(PACKAGE.rglob("*.py"))
        if not str(path.relative_to(PACKAGE)).startswith(READERS)
        for branch in _branches(path)
        if (branch.partition(":")[0], branch.rpartition(" ")[2]) not in other
    ]
    assert found == []

"""Masked values are stored nowhere; all others are stored unchanged."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from letta_source import letta
from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Answer, answer
from letta_source.errors import ConfigError, FatalError
from letta_source.rows.flatten import Rows
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.schema.columns import Column
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import CHILDREN
from letta_source.settings import make_settings
from tests.support.canary import Canary, every_line
from tests.support.command import Command
from tests.support.library_loads import EVERY_RESOURCE, Warehouse

Json = dict[str, Any]

URL = "http://localhost:8283"
MASK_KEY = "a-key-that-is-long-enough"
SECRET = "Grandma Canary lives at 12 Finch Row"
CANARY = Canary(SECRET)
IMAGE = base64.b64encode(SECRET.encode()).decode()
DATA_URL = f"data:image/png;base64,{IMAGE}"
HASH = f"sha256:{hashlib.sha256(SECRET.encode()).hexdigest()} {len(SECRET)} bytes"


def masked(resource: str, *items: Json, parent: str = "p", **settings: Any) -> dict[str, list[Json]]:
    """Return the rows of items by table, without nulls."""
    mask = Mask(RESOURCES[resource], make_settings({"base_url": URL, **settings}, {}))
    rows = Rows(RESOURCES[resource], tombstones=True)
    rows.add([{"id": f"m{at}", **item} for at, item in enumerate(items)], parent)
    found = {}
    for name, table in rows.tables("load-1"):
        shown = mask.table(name, table)
        assert shown.schema == table.schema
        found[name] = [{k: v for k, v in row.items() if v is not None} for row in shown.to_pylist()]
    return found


def one(resource: str, item: Json, table: str = "", **settings: Any) -> Json:
    (row,) = masked(resource, item, **settings)[table or resource]
    return row


def said(column: Column) -> Any:
    """Return a value with the secret for a column of content."""
    return {"deep": [SECRET]} if column.type == "json" else SECRET


CONTENT = [
    (resource, column)
    for resource in RESOURCES.values()
    for column in resource.root.columns
    if column.content
]


@pytest.mark.parametrize("how", ["drop", "redact", "hash"])
def test_all_content_is_masked_in_every_table(how: str) -> None:
    for resource in RESOURCES.values():
        for table, rows in masked(
            resource.name, telling(resource), mask={"content": how}, mask_key=MASK_KEY
        ).items():
            assert not CANARY.is_in(str(rows)), table
            held = {column for row in rows for column in row}
            (known,) = (one for one in resource.tables if one.name == table)
            content = {column.name for column in known.columns if column.content}
            assert held & content == (set() if how == "drop" else held & content)
            assert how == "drop" or held & content, table


def telling(resource: Resource) -> Json:
    """Return an item with the secret wherever content can be."""
    item = {c.field: said(c) for c in resource.root.columns if c.content and c.name not in ("extra", "text")}
    item |= {"unknown": [SECRET]}
    if resource.children is None:
        return item
    content, calls, returns, approvals = (
        {c.name: said(c) for c in columns if c.content and c.name != "extra"}
        for _, columns in CHILDREN.values()
    )
    image = {"type": "image", "source": {"type": "base64", "data": IMAGE, "beyond": SECRET}}
    return item | {
        "content": [{"type": "text", **content, "unknown": SECRET}, image, SECRET, [SECRET]],
        "tool_calls": [
            {"name": "t", **calls},
            {"name": "t", "arguments": json.dumps(said_json()), "v2": SECRET},
            SECRET,
        ],
        "tool_returns": [{"status": "error", **returns}, {"tool_return": [{"type": "text", "text": SECRET}]}],
        "approvals": [{"type": "approval", **approvals}],
    }


def said_json() -> Json:
    return {"address": SECRET}


@pytest.mark.parametrize("sent", [{"note": SECRET}, [SECRET]])
def test_an_object_in_any_column_of_text_is_masked_as_extra_is(sent: Any) -> None:
    """A server may put anything anywhere; a text in these columns stays."""
    for resource in RESOURCES.values():
        ids = {"id", *(column.name for column in resource.root.columns if not column.nullable)}
        texts = [c.field for c in resource.root.columns if c.type == "text" and c.name not in ids]
        item: Json = {field: sent for field in texts if field not in ("message_type", "role")}
        nested = {"type": sent, "name": sent, "status": sent, "tool_call_id": sent}
        if resource.children:
            item |= {name: [nested] for name in ("content", "tool_calls", "tool_returns", "approvals")}
        for table, rows in masked(resource.name, item, mask={"content": "drop"}).items():
            assert not CANARY.is_in(str(rows)), (table, rows)
    kept = one("runs", {"status": sent}, mask={"content": "drop", "extra": "keep"})
    assert json.loads(kept["status"]) == sent
    for text in ("[new] completed", "{", "1"):
        assert one("runs", {"status": text}, mask={"content": "drop"})["status"] == text
    mask = Mask(RESOURCES["runs"], make_settings({"base_url": URL, "mask": {"content": "drop"}}, {}))
    assert mask.item({"status": sent}) == {"status": None}


def test_every_cell_that_is_not_masked_stays_as_it_is() -> None:
    item = {"content": "hi", "name": "ann", "is_err": True, "tool_calls": [{"name": "t", "arguments": "{}"}]}
    plain = masked("agent_messages", item)
    found = masked("agent_messages", item, mask={"agent_messages.text": "redact"})
    for table, rows in plain.items():
        for row in rows:
            row |= {"text": "[redacted]"} if "text" in row else {}
        assert found[table] == rows


def test_redacted_json_is_json() -> None:
    row = one("runs", {"metadata": {"a": SECRET}}, mask={"metadata": "redact"})
    assert json.loads(row["metadata"]) == "[redacted]"
    assert one("runs", {"metadata": None}, mask={"metadata": "redact"}).keys() & {"metadata"} == set()


def test_a_hash_is_an_hmac_and_the_same_everywhere() -> None:
    expected = hmac.new(MASK_KEY.encode(), b"ann@example.org", "sha256").hexdigest()
    mask = {"sender_id": "hash", "created_by_id": "hash"}
    assert (
        one("agent_messages", {"sender_id": "ann@example.org"}, mask=mask, mask_key=MASK_KEY)["sender_id"]
        == expected
    )
    assert (
        one("agents", {"created_by_id": "ann@example.org"}, mask=mask, mask_key=MASK_KEY)["created_by_id"]
        == expected
    )
    other = one("agents", {"created_by_id": "ann@example.org"}, mask=mask, mask_key=MASK_KEY + "!")[
        "created_by_id"
    ]
    assert other != expected


def test_a_mask_can_be_a_function() -> None:
    mask = {"text": lambda text: text.replace("Ann", "A."), "metadata": lambda text: text.upper()}
    assert one("agent_messages", {"content": "Ann says"}, mask=mask)["text"] == "A. says"
    assert json.loads(one("runs", {"metadata": {"a": "b"}}, mask=mask)["metadata"]) == {"A": "B"}


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda text: int(text), "raised ValueError"),
        (lambda text: {"a": text}, "returned dict: it must return a text or None"),
        (lambda text: text.encode(), "returned bytes: it must return a text or None"),
    ],
)
def test_the_error_of_a_function_quotes_nothing(function: Any, why: str) -> None:
    """dlt stores an error with all that it is chained to."""
    with pytest.raises(FatalError) as failed:
        one("agent_messages", {"content": SECRET}, mask={"text": function})
    assert why in str(failed.value)
    error: BaseException | None = failed.value
    while error:
        assert not CANARY.is_in(str(error))
        error = error.__cause__ or error.__context__


def test_what_a_function_returns_fits_every_warehouse() -> None:
    row = one("agent_messages", {"content": "hi"}, mask={"text": lambda text: f"{text}\0\ud800"})
    assert row["text"] == "hi\ufffd\ufffd"


def test_the_most_specific_name_wins() -> None:
    mask = {
        "content": "drop",
        "text": "redact",
        "agent_messages.text": "keep",
        "agent_messages__content.text": "redact",
    }
    found = masked("agent_messages", {"content": "hi", "reasoning": "so"}, mask=mask)
    assert found["agent_messages"][0]["text"] == "hi"
    assert "reasoning" not in found["agent_messages"][0]
    assert found["agent_messages__content"][0]["text"] == "[redacted]"
    assert one("group_messages", {"content": "hi"}, mask=mask)["text"] == "[redacted]"
    assert (
        one("agent_messages", {"reasoning": "so"}, mask={"agent_messages.content": "drop"}).get("reasoning")
        is None
    )
    assert (
        one("group_messages", {"reasoning": "so"}, mask={"agent_messages.content": "drop"})["reasoning"]
        == "so"
    )


def test_arguments_and_their_json_are_masked_together() -> None:
    item = {"tool_calls": [{"name": "t", "arguments": '{"a": 1}'}]}
    for name in ("arguments", "arguments_json"):
        row = one("agent_messages", item, "agent_messages__tool_calls", mask={name: "drop"})
        assert row.keys() & {"arguments", "arguments_json"} == set()


def test_extra_is_dropped_with_any_mask_unless_kept() -> None:
    item = {"description": "d", "unknown": SECRET}
    assert "extra" not in one("agents", item, mask={"agents.description": "drop"})
    assert "extra" in one("agents", item, mask={"agents.description": "drop", "extra": "keep"})
    assert "extra" in one("agents", item, mask={"runs.metadata": "drop", "agents.description": "keep"})
    parts = {"content": [{"type": "text", "text": "t", "unknown": SECRET}]}
    assert "extra" not in one("agent_messages", parts, "agent_messages__content", mask={"name": "drop"})


def test_columns_that_are_not_text_can_only_be_dropped() -> None:
    assert "is_err" not in one("agent_messages", {"is_err": True}, mask={"is_err": "drop"})


def content(*parts: Any) -> Json:
    return {"content": list(parts)}


PART = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}


def test_images_are_kept_by_default() -> None:
    assert one("agent_messages", content(PART), "agent_messages__content")["data"] == IMAGE


def test_images_are_dropped() -> None:
    row = one("agent_messages", content(PART), "agent_messages__content", images="drop")
    assert (row.get("data"), row["type"], row["media_type"]) == (None, "image", "image/png")


@pytest.mark.parametrize("mask", [{}, {"content": "redact"}])
def test_images_are_replaced_by_hash_and_size(mask: Json) -> None:
    row = one("agent_messages", content(PART), "agent_messages__content", images="hash", mask=mask)
    assert row["data"] == HASH


def test_a_mask_that_names_image_columns_applies_to_images() -> None:
    mask = {"data": "redact"}
    row = one("agent_messages", content(PART), "agent_messages__content", images="hash", mask=mask)
    assert row["data"] == "[redacted]"


def test_with_a_key_images_are_hashed_with_it() -> None:
    keyed = hmac.new(MASK_KEY.encode(), SECRET.encode(), "sha256").hexdigest()
    row = one("agent_messages", content(PART), "agent_messages__content", images="hash", mask_key=MASK_KEY)
    assert row["data"] == f"hmac-sha256:{keyed} {len(SECRET)} bytes"


@pytest.mark.parametrize("images", ["drop", "hash"])
@pytest.mark.parametrize(
    "item",
    [
        content({"type": "image", "source": {"type": "url", "url": DATA_URL}}),
        content({"type": "image", "source": {"type": "url", "url": f"https://example.org/{IMAGE}"}}),
        content({"type": "image", "data": IMAGE, "source": {"type": "base64", "data": IMAGE}}),
        content({"type": "image", "source": {"type": "base64", "data": SECRET + "!"}}),
        content({"type": "image_url", "image_url": {"url": f"https://example.org/{IMAGE}"}}),
        content({"type": "text", "text": f"look: ![it]({DATA_URL}) nice"}),
        content([{"type": "image", "data": IMAGE}]),
        {"content": f"look: {DATA_URL}"},
        {"tool_returns": [{"tool_return": [{"type": "text", "text": "x"}, PART]}]},
        {"tool_returns": [{"tool_return": json.dumps([PART])}]},
        {"tool_returns": [{"tool_return": "x", "v2": [PART]}]},
        {"approvals": [{"type": "tool", "tool_return": [PART]}]},
        {"future": {"media_type": "image/webp", "data": IMAGE}},
        {"future": {"mime_type": "IMAGE/webp", "data": IMAGE}},
        {"content": f"DATA:Image/PNG;Base64, {IMAGE}"},
        {"content": f"data:image/svg+xml;utf8,<svg>\n<text>{SECRET}</text></svg>"},
        {"content": json.dumps([PART])},
        {"event_data": PART},
        {"tool_calls": [{"name": "t", "arguments": json.dumps(PART)}]},
        {"tool_calls": [{"name": "t", "arguments": json.dumps({"it": DATA_URL}).replace("/", r"\/")}]},
        {"tool_returns": [{"tool_return": json.dumps({"message": json.dumps([PART])})}]},
        {
            "tool_returns": [
                {"tool_return": json.dumps({"inlineData": {"mimeType": "image/a", "data": IMAGE}})}
            ]
        },
        {"tool_returns": [{"tool_return": json.dumps({"mimeType": "image/png", "blob": IMAGE})}]},
        {"tool_returns": [{"tool_return": json.dumps({"data": [{"b64_json": IMAGE}]})}]},
    ],
    ids=str,
)
def test_images_wherever_they_are(item: Json, images: str) -> None:
    assert CANARY.is_in(str(masked("agent_messages", item)))
    found = masked("agent_messages", item, images=images)
    assert not CANARY.is_in(str(found))
    assert ("sha256:" in str(found)) == (images == "hash")


@pytest.mark.parametrize("wrap", ["\n", "\r\n", r"\r\n", r"\n"])
def test_images_that_are_wrapped(wrap: str) -> None:
    """As e-mails hold them, and as JSON holds these."""
    sent = base64.b64encode(SECRET.encode() * 5).decode()
    lines = wrap.join(sent[at : at + 76] for at in range(0, len(sent), 76))
    item = {"content": f"data:image/png;base64,{lines}{wrap}Here it was."}
    shown = hashlib.sha256(SECRET.encode() * 5).hexdigest()
    row = one("agent_messages", item, images="hash")
    assert row["text"] == f"sha256:{shown} {5 * len(SECRET)} bytes{wrap}Here it was."


@pytest.mark.parametrize(
    "text", ['data:image/x;"', "data:image/x,<svg", "data:image/x,\n" + "A" * 59, "data:image/"]
)
def test_a_text_made_to_take_time_takes_none(text: str) -> None:
    """It grows with the length alone: its square would be minutes."""
    began = time.process_time()
    masked("agent_messages", {"content": text * (1_000_000 // len(text))}, images="drop")
    assert time.process_time() - began < 10


# A lenient decoder skips characters that are not base64; then the length decides whether it decodes.
@pytest.mark.parametrize("beyond", range(8))
def test_an_image_url_is_hashed_as_text(beyond: int) -> None:
    url = f"https://example.org/a-b_c.png?{'x' * beyond}"
    part = {"type": "image", "source": {"type": "url", "url": url}}
    row = one("agent_messages", content(part), "agent_messages__content", images="hash")
    assert row["url"] == f"sha256:{hashlib.sha256(url.encode()).hexdigest()}"


@pytest.mark.parametrize("kind", [{}, {"type": None}, {"type": "file"}, {"type": 5}], ids=str)
def test_only_parts_of_type_image_are_exempt_from_masks(kind: Json) -> None:
    """Without a type, a part may be anything, so it is masked as content."""
    part = {**kind, "data": IMAGE}
    settings: Json = {"mask": {"content": "hash"}, "mask_key": MASK_KEY, "images": "hash"}
    rows = masked("agent_messages", content(part, PART), **settings)["agent_messages__content"]
    hashed = hmac.new(MASK_KEY.encode(), IMAGE.encode(), "sha256").hexdigest()
    assert [row["data"].rpartition(":")[0] for row in rows] == ["", "hmac-sha256"]
    assert rows[0]["data"] == hashed


def test_other_data_is_not_changed() -> None:
    item = {
        "content": [
            {"type": "text", "text": "an image of data:text/plain,hi"},
            {"type": "redacted_reasoning", "data": IMAGE},
        ],
        "tool_returns": [{"tool_return": "an image, not JSON"}, {"tool_return": '{"image": {"data": "x"}}'}],
    }
    assert masked("agent_messages", item, images="drop") == masked("agent_messages", item)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"mask": {"txt": "drop"}}, "no column 'txt': did you mean text"),
        ({"mask": {"agents": "drop"}}, "name its columns as agents.COLUMN, or agents.content for all"),
        ({"mask": {"images": "drop"}}, "it is a setting of its own, as in --images drop"),
        ({"mask": {"agents.sytem": "drop"}}, "did you mean agents.system"),
        ({"mask": {"CONTENT": "drop"}}, "did you mean content?"),
        ({"mask": {"agent_messages.TEXT": "drop"}}, "did you mean agent_messages.text?"),
        ({"mask": {"id": "hash"}, "mask_key": MASK_KEY}, "agents.id identifies rows"),
        ({"mask": {"agent_id": "drop"}}, "agent_messages.agent_id identifies rows"),
        ({"mask": {"_dlt_load_id": "drop"}}, "identifies rows"),
        ({"mask": {"sequence": "drop"}}, "identifies rows"),
        ({"mask": {"_letta_deleted_at": "drop"}}, "identifies rows"),
        ({"mask": {"is_err": "redact"}}, "holds no text: it can only be dropped"),
        ({"mask": {"text": "hide"}}, "text: 'hide' is not drop, hash, redact or keep"),
        ({"mask": {"text": "hash"}}, "hash needs a mask_key"),
        ({"mask": ["text"]}, "must be actions by column"),
        ({"mask_key": "short-canary"}, "at least 16 characters"),
        ({"mask_key": "canary" + " " * 20}, "at least 16 characters"),
        ({"mask_key": b"canary"}, "must be a text"),
        ({"images": "blur"}, "images: must be 'keep', 'drop' or 'hash'"),
    ],
    ids=str,
)
def test_invalid_masks_are_refused_before_any_request(settings: Json, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        letta(base_url=URL, **settings)
    assert why in str(refused.value)
    assert "canary" not in str(refused.value)


def test_digests_do_not_cover_masked_values() -> None:
    def shown(description: str, **settings: Any) -> Json:
        mask = Mask(RESOURCES["agents"], make_settings({"base_url": URL, **settings}, {}))
        return mask.item({"id": "a", "description": description, "unknown": description, "name": "n"})

    for how in ("drop", "redact"):
        assert shown("a", mask={"description": how}) == shown("b", mask={"description": how})
    hashed = {"mask": {"description": "hash"}, "mask_key": MASK_KEY}
    assert shown("a", **hashed) != shown("b", **hashed)
    assert shown("a", **hashed)["unknown"] is None
    assert shown("a") == {"id": "a", "description": "a", "unknown": "a", "name": "n"}


@pytest.fixture
def telltale(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a Letta whose resources all contain the secret, and whose errors quote it."""
    small = Letta(seed=0)
    agent = small.add_agent()
    small.talk(agent, SECRET, tools=["roll"])
    small.add_message(agent, [telling(RESOURCES["agent_messages"]) | {"message_type": "user_message"}])
    conversation = small.add_conversation(agent)
    small.talk(agent, SECRET, conversation_id=conversation)
    group = small.add_group([agent])
    small.add_batch(agent)
    for name, rows in small.tables.items():
        if name in RESOURCES:
            for row in rows.rows.values():
                row |= {k: v for k, v in telling(RESOURCES[name]).items()}

    def tell(letta: Letta, dialect: Any, method: str, path: str, *rest: Any, **given: Any) -> Answer:
        if path == f"/v1/groups/{group}/messages":
            return Answer(400, {"detail": f"cannot render {SECRET}"})
        return answer(letta, dialect, method, path, *rest, **given)

    monkeypatch.setattr("letta_source.demo.server.answer", tell)
    with serve(small) as server:
        yield server


@pytest.mark.whole
@pytest.mark.parametrize(("destination", "how"), [("duckdb", "redact"), ("filesystem", "hash")])
def test_a_run_leaves_no_trace(
    letta_source: Command, telltale: Server, monkeypatch: pytest.MonkeyPatch, destination: str, how: str
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(letta_source.folder / "lake"))
    monkeypatch.setenv("SOURCES__LETTA__MASK_KEY", MASK_KEY)
    every = ("--resources", ",".join(EVERY_RESOURCE), "--destination", destination)
    run = ("run", "--base-url", telltale.base_url, *every, "--lag", "0s")
    with every_line() as lines:
        said = letta_source(*run, "--mask", f"content={how}", "--images", "drop")
    assert (said.code, "unreadable" in said.err or "group" in said.err) == (1, True)
    assert [line for line in (said.out, said.err, *lines) if CANARY.is_in(line)] == []
    assert CANARY.files(letta_source.folder) == []
    assert Canary(MASK_KEY).files(letta_source.folder) == []


def test_the_search_for_traces_finds_a_planted_one(letta_source: Command, telltale: Server) -> None:
    said = letta_source("run", "--base-url", telltale.base_url, "--resources", "agents,group_messages")
    assert (said.code, CANARY.is_in(said.err)) == (1, True)
    assert "letta_db.duckdb" in CANARY.files(letta_source.folder)


def test_the_log_says_that_a_detail_is_masked(letta_source: Command, telltale: Server) -> None:
    run = ("run", "--base-url", telltale.base_url, "--resources", "agents,group_messages")
    assert ": its detail is masked" in letta_source(*run, "--mask", "content=drop").err


def test_settings_of_files_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Letta(seed=0)
    small.add_message(small.add_agent(), text="hello")
    monkeypatch.setenv("SOURCES__LETTA__MASK", '{"text": "redact"}')
    with serve(small) as server:
        warehouse = Warehouse(tmp_path)
        warehouse.load(server, "agent_messages")
    assert {row[0] for row in warehouse.rows("agent_messages", "text")} == {"[redacted]"}


@pytest.mark.parametrize(("how", "rows"), [("drop", 1), ("hash", 2)])
def test_changes_of_masked_values_add_no_rows(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch, how: str, rows: int
) -> None:
    lake = letta_source.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(lake))
    monkeypatch.setenv("SOURCES__LETTA__MASK_KEY", MASK_KEY)
    small = Letta(seed=0)
    agent = small.tables["agents"].rows[small.add_agent()]
    options = ("--resources", "agents", "--destination", "filesystem", "--mask", f"description={how}")
    with serve(small) as server:
        for agent["description"] in ("a bird", "a canary"):
            assert letta_source("run", "--base-url", server.base_url, *options).code == 0
    files = (lake / "letta" / "agents").glob("*.parquet")
    assert sum(pq.read_metadata(file).num_rows for file in files) == rows

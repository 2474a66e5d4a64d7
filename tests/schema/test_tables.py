"""The tables' names, keys and descriptions are as promised."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import Table


def _words(text: str) -> list[str]:
    return text.split()


PARENTS = {
    "agent_messages": ["agent_id"],
    "group_messages": ["group_id"],
    "step_messages": ["step_id"],
    "batch_messages": ["batch_id"],
    "conversation_messages": ["conversation_id"],
    "messages": [],
    "message_search": ["query"],
}
LETTA_MESSAGE = _words("""
    id position sequence created_at message_type name otid sender_id run_id step_id is_err seq_id text
    reasoning source
    signature state hidden_reasoning approve approval_request_id reason summary
    compaction_stats event_type event_data extra _letta_deleted_at _dlt_load_id""")
MESSAGE = _words("""
    id position sequence created_at role name otid sender_id run_id step_id is_err agent_id group_id
    conversation_id model text approve approval_request_id denial_reason batch_item_id tool_call_id
    created_by_id last_updated_by_id updated_at extra _letta_deleted_at _dlt_load_id""")
SEARCH_RANKS = _words("embedded_text rrf_score fts_rank vector_rank")
CHILDREN = {
    "content": _words("""
        type text signature reasoning is_native data source_type url media_type file_id detail
        tool_call_id name input is_error content_id summary encrypted_content extra"""),
    "tool_calls": _words("tool_call_id name arguments arguments_json type"),
    "tool_returns": _words("tool_call_id status tool_return stdout stderr type"),
    "approvals": _words("tool_call_id type approve reason status tool_return stdout stderr"),
}
CHILD_KEY = ["message_id", "position", "idx"]
ENTITIES = {
    **dict.fromkeys(_words("agents groups runs steps conversations batches"), ("id",)),
    **dict.fromkeys(_words("blocks step_metrics tools identities archives"), ("id",)),
    **dict.fromkeys(_words("agent_blocks passages"), ("agent_id", "id")),
}
BLOCKS = _words("label value description tags metadata template_name extra")
LOAD_ISSUES = _words(
    "load_started_at resource parent_id kind detail after_id before_id known next_try_at resolved"
    " _dlt_load_id"
)
JSON = {
    "messages": {"compaction_stats", "event_data", "extra"},
    "messages__content": {"input", "summary", "extra"},
    "messages__tool_calls": {"arguments_json"},
    "messages__tool_returns": {"stdout", "stderr"},
    "messages__approvals": {"stdout", "stderr"},
}

# Columns that can quote people: the mask `content` covers them.
CONTENT = {
    "agents": _words("""
        name description system tags tool_rules llm_config embedding_config model_settings
        compaction_settings response_format metadata memory blocks tools sources
        tool_exec_environment_variables secrets identities pending_approval multi_agent_group managed_group
        extra"""),
    "groups": _words("description termination_token extra"),
    "runs": _words("metadata request_config callback_url callback_error extra"),
    "steps": _words("model_endpoint tags messages error_type error_data extra"),
    "conversations": _words("summary model_settings description extra"),
    "batches": _words("metadata callback_url callback_error extra"),
    "messages": _words("name otid text reasoning signature hidden_reasoning reason summary event_data extra"),
    "batch_messages": _words("name otid text denial_reason extra"),
    "message_search": _words("embedded_text name otid text denial_reason reasoning extra"),
    "messages__content": _words("""
        text signature reasoning data url input summary encrypted_content extra"""),
    "messages__tool_calls": _words("arguments arguments_json"),
    "messages__tool_returns": _words("tool_return stdout stderr"),
    "messages__approvals": _words("reason tool_return stdout stderr"),
    "blocks": BLOCKS,
    "agent_blocks": BLOCKS,
    "step_metrics": _words("extra"),
    "tools": _words("""
        description source_code json_schema args_json_schema tags pip_requirements npm_requirements metadata
        extra"""),
    "identities": _words("identifier_key name properties extra"),
    "archives": _words("name description embedding_config metadata extra"),
    "passages": _words("text tags metadata file_name embedding_config extra"),
    "load_issues": _words("detail"),
}

TABLES = {table.name: table for table in all_tables()}
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def _names(table: str) -> list[str]:
    return [column.name for column in TABLES[table].columns]


def _root(resource: str) -> list[str]:
    if resource == "message_search":
        return [*SEARCH_RANKS, *MESSAGE, "message_type", "reasoning"]
    return MESSAGE if resource == "batch_messages" else LETTA_MESSAGE


def test_there_are_no_other_tables() -> None:
    children = {f"{resource}__{child}" for resource in PARENTS for child in CHILDREN}
    assert sorted(table.name for table in all_tables()) == sorted(
        ENTITIES.keys() | PARENTS.keys() | children | {"load_issues"}
    )


@pytest.mark.parametrize("resource", PARENTS)
def test_messages_have_the_columns_of_the_contract(resource: str) -> None:
    parent = PARENTS[resource]
    assert sorted(_names(resource)) == sorted({*parent, *_root(resource)})
    for child, columns in CHILDREN.items():
        own = [*parent, *CHILD_KEY, *columns, "_deleted", "_dlt_load_id"]
        assert sorted(_names(f"{resource}__{child}")) == sorted(own)


@pytest.mark.parametrize("resource", PARENTS)
def test_messages_merge_by_parent_and_message(resource: str) -> None:
    parent = PARENTS[resource]
    root, *children = RESOURCES[resource].tables
    assert list(root.merge_key) == [*parent, "id"]
    assert list(root.primary_key) == [*parent, "id", "position"]
    for child in children:
        assert list(child.merge_key) == [*parent, "message_id"]
        assert list(child.primary_key) == [*parent, *CHILD_KEY]


def test_entities_have_an_id_and_extra() -> None:
    for name, key in ENTITIES.items():
        assert {"id", "extra", "_letta_deleted_at", "_dlt_load_id"} <= set(_names(name))
        assert TABLES[name].primary_key == key
        assert RESOURCES[name].tables == (TABLES[name],)


def test_load_issues_have_the_columns_of_the_contract() -> None:
    assert sorted(_names("load_issues")) == sorted(LOAD_ISSUES)


def test_resources_loaded_on_request() -> None:
    on_request = {name for name, resource in RESOURCES.items() if resource.on_request}
    messages = {"conversation_messages", "messages", "message_search"}
    memory = {"blocks", "agent_blocks", "archives", "passages"}
    assert on_request == messages | memory | {"step_metrics", "tools", "identities"}


@each_table
def test_keys_are_columns_that_are_never_null(table: Table) -> None:
    required = {column.name for column in table.columns if not column.nullable}
    assert set(table.primary_key) | {"_dlt_load_id"} == required
    assert set(table.merge_key) <= set(table.primary_key)
    assert {field.name for field in table.arrow_schema if not field.nullable} == required


@each_table
def test_columns_are_unique_and_described(table: Table) -> None:
    names = [column.name for column in table.columns]
    fields = [column.field for column in table.columns]
    assert len(set(names)) == len(names) == len(set(fields))
    assert table.description.endswith(".")
    assert all(column.description for column in table.columns)
    assert {name: hint["description"] for name, hint in table.dlt_columns().items()} == {
        column.name: column.description for column in table.columns
    }


@pytest.mark.parametrize("table", JSON)
def test_free_form_fields_are_json_columns(table: str) -> None:
    hints = TABLES[table].dlt_columns()
    assert {name for name, hint in hints.items() if hint.get("data_type") == "json"} == JSON[table]
    assert {name for name, hint in hints.items() if hint.get("hard_delete")} == {"_deleted"} & hints.keys()


@pytest.mark.parametrize("table", CONTENT)
def test_columns_that_can_quote_people_are_content(table: str) -> None:
    assert sorted(column.name for column in TABLES[table].columns if column.content) == sorted(CONTENT[table])


def test_all_tables_of_messages_agree_on_what_is_content() -> None:
    for name, table in TABLES.items():
        like = re.sub("^(agent|group|step|conversation)_messages", "messages", name)
        like = re.sub("^(batch_messages|message_search)__", "messages__", like)
        assert {c.name for c in table.columns if c.content} == set(CONTENT[like])


def test_times_are_microseconds_utc() -> None:
    assert TABLES["messages"].arrow_schema.field("created_at").type == pa.timestamp("us", "UTC")

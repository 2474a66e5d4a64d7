"""A Singer tap for Letta, made with the Singer SDK and its fastest settings."""

# Its packages are installed in an environment of their own.
# mypy: ignore-errors

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import requests
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.pagination import BaseAPIPaginator
from singer_sdk.streams.core import TypeConformanceLevel


class LastId(BaseAPIPaginator):
    """Begins the next page after the last id, which the stream knows because it has read the page."""

    def __init__(self, stream: LettaStream) -> None:
        super().__init__(None)
        self._stream = stream

    def get_next(self, response: requests.Response) -> str | None:
        return self._stream.last_id


class LettaStream(RESTStream):
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    last_id: str | None = None

    @property
    def url_base(self) -> str:
        return self.config["url"]

    def get_new_paginator(self) -> LastId:
        return LastId(self)

    def get_url_params(self, context: Any, next_page_token: str | None) -> dict[str, Any]:
        params = {"limit": 1000, "order": "asc", "use_assistant_message": "false"}
        after = next_page_token or self.get_starting_replication_key_value(context)
        return {**params, "after": after} if after else params

    def parse_response(self, response: requests.Response) -> Iterable[dict[str, Any]]:
        rows = response.json()
        self.last_id = rows[-1]["id"] if rows else None
        yield from rows


class Agents(LettaStream):
    name = "agents"
    path = "/v1/agents/"
    primary_keys = ("id",)
    schema = th.PropertiesList(
        *(th.Property(name, th.StringType) for name in ("id", "name", "created_at"))
    ).to_dict()


class Messages(LettaStream):
    name = "agent_messages"
    path = "/v1/agents/{agent_id}/messages"
    # With a key, the target would merge the items of a message, and is slower.
    primary_keys = ()
    # The bookmark of each agent is its last id.
    replication_key = "id"
    is_sorted = True
    check_sorted = False

    @property
    def partitions(self) -> list[dict[str, str]]:
        """Return a partition for each agent. As children of the agents' stream, each would send its schema
        again, at which the target loads what it has."""
        return [{"agent_id": agent["id"]} for agent in Agents(self._tap).get_records(None)]

    schema = th.PropertiesList(
        *(
            th.Property(name, th.StringType)
            for name in (
                "agent_id", "id", "date", "name", "message_type", "otid", "sender_id", "step_id", "seq_id",
                "run_id", "content", "source", "reasoning", "signature", "tool_return", "status",
                "tool_call_id",
            )
        ),
        th.Property("is_err", th.BooleanType),
        th.Property("tool_call", th.ObjectType(additional_properties=True)),
        th.Property("tool_calls", th.ArrayType(th.ObjectType(additional_properties=True))),
        th.Property("tool_returns", th.ArrayType(th.ObjectType(additional_properties=True))),
        th.Property("stdout", th.ArrayType(th.StringType)),
        th.Property("stderr", th.ArrayType(th.StringType)),
    ).to_dict()  # fmt: skip


class Letta(Tap):
    name = "tap-letta"
    config_jsonschema = th.PropertiesList(th.Property("url", th.StringType, required=True)).to_dict()
    message_writer_class = MsgSpecWriter

    def discover_streams(self) -> list[LettaStream]:
        return [Agents(self), Messages(self)]


if __name__ == "__main__":
    Letta.cli()

"""Send the requests of a load and nothing else: bodies are not parsed.

Usage: bare.py URL CONNECTIONS walk [FOLDER]
       bare.py URL CONNECTIONS poll

`walk` reads every agent's messages to the end; with a folder it stores them there, one file per page.
`poll` asks once for each agent's new messages.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from urllib.request import urlopen

import httpx

AGENTS = {"include": "agent.managed_group", "show_hidden_agents": "true", "order": "asc", "limit": "1000"}
MESSAGES = {"use_assistant_message": "false", "order": "asc", "limit": "1000"}
_ID = b'"id":"message-'
_ID_LENGTH = len("message-") + 36

Read = Callable[[httpx.AsyncClient, str], Awaitable[None]]


async def agents(client: httpx.AsyncClient) -> AsyncIterator[str]:
    """Yield the ids of the agents from the list's pages."""
    after: dict[str, str] = {}
    while found := (await client.get("/v1/agents/", params={**AGENTS, **after})).json():
        for agent in found:
            yield agent["id"]
        after = {"after": found[-1]["id"]}


async def messages(client: httpx.AsyncClient, agent_id: str, after: str = "") -> bytes:
    """Return a page of an agent's messages, as it was sent."""
    params = {**MESSAGES, "after": after} if after else MESSAGES
    answer = await client.get(f"/v1/agents/{agent_id}/messages", params=params)
    return answer.raise_for_status().content


async def each(url: str, connections: int, read: Read) -> None:
    """Call `read` for each agent, with so many calls at once."""
    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        found: asyncio.Queue[str | None] = asyncio.Queue()

        async def find() -> None:
            async for agent_id in agents(client):
                found.put_nowait(agent_id)
            for _ in range(connections):
                found.put_nowait(None)

        async def work() -> None:
            while (agent_id := await found.get()) is not None:
                await read(client, agent_id)

        await asyncio.gather(find(), *(work() for _ in range(connections)))


def walking(folder: Path | None) -> Read:
    """Return a function that reads to the end, and stores the pages if there is a folder."""
    numbers = count()

    async def read(client: httpx.AsyncClient, agent_id: str) -> None:
        after = ""
        while len(page := await messages(client, agent_id, after)) > len("[]"):
            begin = page.rindex(_ID) + len('"id":"')
            after = page[begin : begin + _ID_LENGTH].decode()
            if folder:
                (folder / f"{next(numbers):07}.json").write_bytes(page)

    return read


def polling(last: dict[str, str]) -> Read:
    """Return a function that reads what comes after the last id of each agent."""

    async def read(client: httpx.AsyncClient, agent_id: str) -> None:
        if len(await messages(client, agent_id, last[agent_id])) > len("[]"):
            raise RuntimeError(f"{agent_id} has more")

    return read


def main() -> None:
    url, connections, what, *folder = sys.argv[1:]
    if what == "walk":
        read = walking(Path(folder[0]) if folder else None)
    else:
        with urlopen(f"{url}/-/last") as answer:
            read = polling(json.load(answer))
    asyncio.run(each(url, int(connections), read))


if __name__ == "__main__":
    main()

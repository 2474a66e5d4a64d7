"""A stand-in for Letta that only sends bytes, so that loads never wait for it."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote
from urllib.request import urlopen

from benchmarks.data import Agent, Kind, make_agents
from benchmarks.lists import Lists

Body: TypeAlias = bytes | memoryview


@dataclass
class Letta:
    """The data, and the requests since the last reset.

    Attributes:
        shown: the share of their messages that quiet agents show.
        quiet: the share of agents, from the first on, that are quiet; the others show all.
        delay: seconds to wait before each response.
        has_lists: True if it also has the lists that tell what changed.
        begun: when the first request came, on `time.monotonic`, which all processes share.
    """

    agents: list[Agent]
    shown: float = 1.0
    quiet: float = 1.0
    delay: float = 0.0
    has_lists: bool = False
    begun: float | None = None
    requests: int = 0
    _places: dict[str, int] = field(init=False)
    _lists: Lists | None = None

    def __post_init__(self) -> None:
        self._places = {agent.id: at for at, agent in enumerate(self.agents)}

    def answer(self, target: str) -> list[Body]:
        """Return the whole response to a GET, in parts."""
        path, _, query = target.partition("?")
        names = unquote(path).strip("/").split("/")
        if names[0] == "-":
            return _answer(b"200 OK", json.dumps(self._told(names[1:])).encode())
        if self.begun is None:
            self.begun = time.monotonic()
        self.requests += 1
        if self.delay:
            time.sleep(self.delay)
        if self._lists and names == ["v1", "steps"]:
            # Broken on self-hosted servers: steps are read through runs.
            return _answer(b"400 Bad Request", b'{"detail":"Argument order does not match type"}')
        page = self._page(names, dict(parse_qsl(query)))
        if page is None:
            return _answer(b"404 Not Found", b'{"detail":"Not Found"}')
        return _answer(b"200 OK", b"[", page, b"]")

    def _page(self, names: list[str], query: dict[str, str]) -> Body | None:
        if self._lists and (page := self._lists.page(names, query)) is not None:
            return page
        # Without an order, the real server lists the newest first; no contender asks for that.
        if query.get("order") != "asc":
            return None
        match names:
            case ["v1", "agents"]:
                begin, end = _bounds(query, self._places.__getitem__, len(self.agents))
                return b",".join(agent.listed for agent in self.agents[begin:end])
            case ["v1", "agents", agent_id, "messages"] if agent_id in self._places:
                agent = self.agents[self._places[agent_id]]
                return agent.page(*_bounds(query, agent.place, self._end(agent)))
        return None

    def _told(self, names: list[str]) -> Any:
        """Return the answer to one of the benchmark's own requests."""
        match names:
            case ["show", share, quiet]:
                self.shown, self.quiet = float(share), float(quiet)
                ends = [self._end(agent) for agent in self.agents]
                if self._lists:
                    self._lists.show(ends)
                elif self.has_lists:
                    self._lists = Lists(self.agents, ends)
            case ["delay", seconds]:
                self.delay = float(seconds)
            case ["reset"]:
                self.begun, self.requests = None, 0
            case ["begin"]:
                # For a contender that reads from disk, and makes no request.
                self.begun = time.monotonic()
            case ["asked"]:
                return {"begun": self.begun, "requests": self.requests}
            case ["items"]:
                return sum(agent.items(self._end(agent)) for agent in self.agents)
            case ["last"]:
                return {agent.id: agent.last_id(self._end(agent)) for agent in self.agents}
        return None

    def _end(self, agent: Agent) -> int:
        is_quiet = self._places[agent.id] < self.quiet * len(self.agents)
        return int(agent.messages * self.shown) if is_quiet else agent.messages


def _bounds(query: dict[str, str], place: Callable[[str], int], shown: int) -> tuple[int, int]:
    begin = place(query["after"]) + 1 if query.get("after") else 0
    end = place(query["before"]) if query.get("before") else shown
    return begin, max(begin, min(begin + int(query.get("limit", 50)), end))


def _answer(status: bytes, *body: Body) -> list[Body]:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return [head % (status, sum(map(len, body))), *body]


def _converse(letta: Letta, connection: socket.socket) -> None:
    """Answer the requests of one connection in turn."""
    held = b""
    with connection, suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(1 << 16):
            held += data
            while (end := held.find(b"\r\n\r\n")) >= 0:
                target = held[:end].split(b" ", 2)[1].decode()
                held = held[end + 4 :]
                parts = letta.answer(target)
                # Pages are sent from where they are stored: copying megabytes would cost more than all else.
                sent = connection.sendmsg(parts)
                if sent < sum(map(len, parts)):
                    connection.sendall(b"".join(parts)[sent:])


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str

    def show(self, share: float, quiet: float = 1.0) -> None:
        """Show only this share of the messages of the first agents, which are the share `quiet` of all."""
        self._tell(f"show/{share}/{quiet}")

    def delay(self, seconds: float) -> None:
        """Wait this long before each response."""
        self._tell(f"delay/{seconds}")

    def reset(self) -> None:
        """Reset the count of requests."""
        self._tell("reset")

    def asked(self) -> tuple[float | None, int | None]:
        """Return when the first request since the reset came, and how many came."""
        asked = self._tell("asked")
        return asked["begun"], asked["requests"]

    def items(self) -> int:
        """Return how many items of messages it shows."""
        return int(self._tell("items"))

    def _tell(self, what: str) -> Any:
        with urlopen(f"{self.url}/-/{what}") as answer:
            return json.load(answer)


@contextmanager
def serve(
    agents: int, items: int, listed: int = 0, kind: Kind = "plain", has_lists: bool = False
) -> Iterator[Server]:
    """Serve `agents` agents with `items` items each from a process of its own.

    Args:
        listed: length of an agent's prompt, which the list of agents shows.
        has_lists: True to tell what changed after the first call of `show`.
    """
    receiver, sender = multiprocessing.Pipe(False)
    what = (agents, items, listed, kind, has_lists)
    process = multiprocessing.Process(target=_serve, args=(sender, *what), daemon=True)
    process.start()
    # Else `receiver` would never see the end of the process.
    sender.close()
    try:
        yield Server(receiver.recv())
    finally:
        process.terminate()
        process.join()


def _serve(sender: Connection, agents: int, items: int, listed: int, kind: Kind, has_lists: bool) -> None:
    letta = Letta(make_agents(agents, items, listed, kind=kind), has_lists=has_lists)
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    sender.send(f"http://127.0.0.1:{listening.getsockname()[1]}")
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_converse, args=(letta, connection), daemon=True).start()

"""Persistent unreadable items: one alarm, one line per load, few requests, and a view of open issues."""

from __future__ import annotations

from datetime import timedelta

import pytest

from letta_source.demo import Letta, Server
from letta_source.demo.api import Answer, answer
from letta_source.loading.issues_view import current_issues
from tests.support.command import Command, one_of

pytestmark = pytest.mark.whole

OPEN = "SELECT resource, parent_id, kind, tries, next_try_at > last_tried_at FROM letta.load_issues_current"
ATTEMPTS = "SELECT known, resolved FROM letta.load_issues ORDER BY load_started_at"


@pytest.fixture
def bad(letta: Letta) -> str:
    """Return the id of an unreadable message in the middle of an agent's list."""
    middle = letta.list_of("agent", one_of(letta)).ids()[1]
    letta.poison(middle)
    return middle


def logged(letta_source: Command) -> list[tuple[object, ...]]:
    return letta_source.rows(
        "SELECT new_problems, known_problems, exit_code, outcome FROM letta.load_log"
        " WHERE resource = 'agent_messages' ORDER BY run_id"
    )


def test_one_cause_is_one_alarm(
    letta_source: Command, letta: Letta, server: Server, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = letta_source.load(server)
    assert first.code == 3
    assert sum(line.startswith("warning: ") for line in first.errors) == 1
    for _ in range(2):
        server.requests.clear()
        said = letta_source.load(server)
        assert (said.code, said.column("problems")["agent_messages"]) == (0, "1")
        lines = [line for line in said.errors if "agent_messages" in line]
        assert len(lines) == 1
        assert "known issues still open: 1; next retry at 20" in lines[0]
    # By now the issue waits for its next try, and costs no request.
    assert len([one for one in server.requests if one_of(letta) in one.path]) == 1
    assert letta_source.load(server, "--strict").code == 3
    agent = one_of(letta)
    assert letta_source.rows(OPEN) == [("agent_messages", agent, "unreadable", 2, True)]
    assert letta_source.rows(ATTEMPTS) == [(False, None), (True, None)]
    assert logged(letta_source)[:2] == [(1, 0, 3, "incomplete"), (0, 1, 0, "incomplete")]
    letta.cure(bad)
    monkeypatch.setattr("letta_source.state.known_issues.KnownIssues.is_due", lambda *of_issue: True)
    assert (letta_source.load(server).code, letta_source.rows(OPEN)) == (0, [])
    assert letta_source.rows(ATTEMPTS)[-1] == (True, True)
    assert logged(letta_source)[-1] == (0, 0, 0, "loaded")
    ids = letta_source.rows("SELECT count(*) FROM letta.agent_messages WHERE id = ?".replace("?", f"'{bad}'"))
    assert ids[0][0]
    # If it breaks again, it is a new issue.
    monkeypatch.undo()


def test_a_new_issue_beside_a_known_one_is_an_alarm(
    letta_source: Command, letta: Letta, server: Server, bad: str
) -> None:
    letta_source.load(server)
    other = list(letta.tables["agents"].rows)[1]
    letta.poison(letta.list_of("agent", other).ids()[2])
    said = letta_source.load(server, "--refresh")
    assert said.code == 3
    assert said.errors[-1] == "1 could not be read: see load_issues"
    assert said.column("problems")["agent_messages"] == "2"
    assert {row[1] for row in letta_source.rows(OPEN)} == {one_of(letta), other}


def test_an_unreadable_parent_is_known_until_it_is_readable(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    letta.add_agent()
    agent = one_of(letta)

    def broken(letta: Letta, dialect: object, method: str, path: str, *args: object, **how: object) -> Answer:
        if path == f"/v1/agents/{agent}/messages":
            return Answer(400, {"detail": "broken"})
        return answer(letta, dialect, method, path, *args, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("letta_source.demo.server.answer", broken)
        assert [letta_source.load(server).code for _ in range(3)] == [3, 0, 0]
    ((resource, parent, _, tries, _),) = letta_source.rows(OPEN)
    assert (resource, parent, tries) == ("agent_messages", agent, 3)
    assert letta_source.load(server).code == 0
    assert letta_source.rows(OPEN) == []


def test_an_agent_without_an_id_is_known_until_a_whole_list_is_read_without_it(
    letta_source: Command, letta: Letta, server: Server
) -> None:
    letta.add_agent()
    last = letta.tables["agents"].ids()[-1]
    letta.tables["agents"].rows[last]["id"] = None

    def load(*options: str) -> tuple[int, str]:
        said = letta_source.load(server, "--resources", "agents", *options)
        return said.code, said.column("problems")["agents"]

    assert [load() for _ in range(2)] == [(3, "1"), (0, "1")]
    assert load("--strict")[0] == 3
    # Neither of these reads the whole list, so it proves nothing.
    assert load("--changes", "on") == (0, "1")
    assert load("--agent-id", one_of(letta)) == (0, "1")
    assert [row[2] for row in letta_source.rows(OPEN)] == ["no_id"]
    letta.tables["agents"].rows[last]["id"] = last
    assert (load(), letta_source.rows(OPEN)) == ((0, "0"), [])


def test_a_last_message_without_an_id_ends_the_list_and_is_known(
    letta_source: Command, letta: Letta, server: Server
) -> None:
    letta_source.load(server)
    agent, bad = one_of(letta), letta.add_message(one_of(letta), text="no id")
    (item,) = letta.messages.rows[bad].items
    item["id"] = None
    assert [letta_source.load(server).code for _ in range(2)] == [3, 0]
    kinds = letta_source.rows("SELECT DISTINCT parent_id, kind FROM letta.load_issues")
    assert kinds == [(agent, "no_id")]
    letta.add_message(agent, text="later")
    # The cursor passes it, so that only reading everything again can prove that it has an id now.
    assert (letta_source.load(server, "--lag", "0").code, len(letta_source.rows(OPEN))) == (0, 1)
    item["id"] = bad
    assert (letta_source.load(server, "--refresh").code, letta_source.rows(OPEN)) == (0, [])


def test_a_window_raises_no_alarm_for_known_issues(letta_source: Command, server: Server, bad: str) -> None:
    letta_source.load(server)
    assert letta_source.load(server, "--start-date", "2020-01-01").code == 0
    assert len(letta_source.rows(OPEN)) == 1


def test_status_shows_open_issues(letta_source: Command, letta: Letta, server: Server, bad: str) -> None:
    for _ in range(3):
        letta_source.load(server)
    said = letta_source("status").out
    assert "Unreadable when last tried: 1:" in said
    assert "2 tries" in said
    letta.cure(bad)
    letta_source.load(server, "--refresh")
    assert "Unreadable when last tried: nothing." in letta_source("status").out


def test_the_docs_show_the_views_query() -> None:
    from tests.support.paths import ROOT

    sql = current_issues("load_issues")
    shown = (ROOT / "docs" / "operate.md").read_text("utf-8")
    assert " ".join(sql.split()) in " ".join(shown.replace(";", "").split())


def test_retry_waits_grow_from_less_than_an_hour() -> None:
    from letta_source.state.known_issues import _FIRST_WAIT, _LONGEST_WAIT

    assert timedelta() < _FIRST_WAIT < timedelta(hours=1) < _LONGEST_WAIT < timedelta(days=1)

"""The commands' output, and their refusals: one clear line, exit code 2, nothing changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from letta_source.api import server as api_server
from letta_source.demo import Letta, Server, recorded_letta, serve
from letta_source.errors import ConfigError
from letta_source.loading.run import Parts
from letta_source.schema.resources import RESOURCES
from letta_source.settings import Settings
from tests.support.command import KEY, Command, web_server
from tests.support.paths import ROOT

OPTIONS = {
    "check": ["--base-url"],
    "discover": ["--json"],
    "run": [
        *("--base-url", "--destination", "--dataset-name", "--pipeline-name", "--resources", "--agent-id"),
        *("--batch-id", "--start-date", "--end-date", "--refresh", "--search-query", "--lag", "--page-size"),
        "--max-workers",
    ],
    "demo": [],
}
NOT_EMPTY = (
    "--destination",
    "--dataset-name",
    "--pipeline-name",
    "--agent-id",
    "--batch-id",
    "--search-query",
)
# The port of the discard protocol, on which nothing listens.
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def server() -> Iterator[Server]:
    letta = Letta()
    letta.add_agent()
    with serve(letta) as server:
        yield server


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Settings]:
    """Return a function that returns the settings of a run, which stops at its first check."""
    seen: list[Settings] = []

    def check_reachable(settings: Settings, server: api_server.Server) -> None:
        seen.append(settings)
        raise ConfigError("enough")

    monkeypatch.setattr("letta_source.loading.run.PARTS", Parts(check_server=check_reachable))
    return lambda: seen.pop()


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_options_and_exit_codes(letta_source: Command, command: str) -> None:
    said = letta_source(command, "--help")
    assert (said.code, said.err) == (0, "")
    for option in OPTIONS[command]:
        assert option in said.out
    reads_letta = command in ("check", "run")
    for variable in ("LETTA_API_KEY", "LETTA_BASE_URL", "LETTA_PROJECT"):
        assert (variable in said.out) == reads_letta
    codes = {"check": "012", "run": "0123"}.get(command, "")
    for code in "0123" if codes else "":
        assert (f"\n  {code}  " in said.out) == (code in codes)
    assert ("everything was loaded" in said.out) == (command == "run")


def test_help_names_the_commands(letta_source: Command) -> None:
    said = letta_source("--help")
    assert said.code == 0
    assert all(f"\n    {command} " in said.out for command in OPTIONS)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--base-url https://api.letta.com", "Letta Cloud needs a key: set LETTA_API_KEY"),
        ("--base-url localhost", "base_url: must be a URL such as http://localhost:8283"),
        (
            f"--base-url {NOBODY}",
            f"{NOBODY} cannot be reached: the connection was refused: is the port right, is the ",
        ),
        (
            "--resources agents,agent_mesages",
            "unknown resource 'agent_mesages': did you mean agent_messages?",
        ),
        ("--resources xyz", "unknown resource 'xyz': there are agents, groups, "),
        ("--start-date yesterday", "start_date: must be a date such as 2026-01-31 or "),
        ("--end-date 2026-13-01", "end_date: must be a date such as "),
        ("--start-date 2026-02-01 --end-date 2026-02-01", "start_date must be before end_date"),
        ("--lag soon", "lag: must be a duration such as 600, 10m or 2h"),
        ("--page-size 0", "page_size: must be greater than or equal to 1"),
        ("--page-size 1001", "page_size: must be less than or equal to 1000"),
        ("--max-workers 0", "max_workers: must be greater than or equal to 1"),
        ("--resources message_search", "message_search needs a query: --search-query TEXT"),
        ("--resources messages --agent-id agent-1", "messages cannot be limited to agents, "),
        ("--destination postgrs", "unknown destination 'postgrs': did you mean postgres?"),
        ("--destination postgres", "postgres cannot be opened: "),
        ("--destination filesystem", "filesystem cannot be opened: "),
        ("--pipeline-name a/b", "the pipeline name 'a/b' cannot be used: it may have letters, "),
        ("--database md:chats", "--database: md:… is not the path of a DuckDB file: use --destination "),
    ],
)
def test_wrong_usage_is_one_line_and_touches_nothing(
    letta_source: Command, server: Server, options: str, line: str
) -> None:
    said = letta_source("run", "--base-url", server.base_url, *options.split())
    assert (said.code, said.out, letta_source.files()) == (2, "", [])
    assert len(said.errors) == 1
    assert said.errors[0].startswith(f"letta-source: {line}")
    assert server.requests == []


@pytest.mark.parametrize("destination", ["postgres", "filesystem"])
def test_missing_credentials_are_named(letta_source: Command, server: Server, destination: str) -> None:
    said = letta_source("run", "--base-url", server.base_url, "--destination", destination)
    setting = {"postgres": "CREDENTIALS", "filesystem": "BUCKET_URL"}[destination]
    assert said.err.endswith(f"; set DESTINATION__{destination.upper()}__{setting}\n")


@pytest.mark.parametrize("options", ["--page-size x", *(f"{one}=" for one in NOT_EMPTY)])
def test_invalid_option_values_are_refused(letta_source: Command, options: str) -> None:
    said = letta_source("run", *options.split())
    assert said.code == 2
    assert f"error: argument {options.replace('=', ' ').split()[0]}: " in said.errors[-1]


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_key_is_refused(letta_source: Command, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("LETTA_API_KEY", KEY)
    with serve(Letta(), api_key="another") as server:
        said = letta_source(command, "--base-url", server.base_url)
    assert (said.code, said.out, letta_source.files()) == (2, "", [])
    assert said.errors == [
        "letta-source: 127.0.0.1 refuses the key (401): set LETTA_API_KEY to a key that may read. "
        "It says: Unauthorized"
    ]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "content_type", "body", "line"),
    [
        (403, "application/json", b'{"detail": "no read scope"}', "127.0.0.1 refuses the key (403): "),
        (403, "text/plain", b"you sent: ", "127.0.0.1 cannot be read: 403: "),
        (
            200,
            "text/html",
            b"<html>Welcome</html>",
            "127.0.0.1 answers with a web page, not with Letta's API",
        ),
        (404, "application/json", b'{"detail": "Not Found"}', "{url} has none of Letta's endpoints: "),
        (200, "application/json", b"{", "{url}/v1/agents/: "),
        (503, "text/plain", b"", "{url}/v1/agents/: returns 503: "),
    ],
)
def test_a_server_that_is_not_letta_is_refused(
    letta_source: Command,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    content_type: str,
    body: bytes,
    line: str,
) -> None:
    monkeypatch.setenv("LETTA_API_KEY", KEY)
    echo = ["authorization"] if content_type == "text/plain" else []
    with web_server(status, content_type, body, echo) as url:
        said = letta_source("run", "--base-url", url)
    assert (said.code, said.out, letta_source.files()) == (2, "", [])
    assert len(said.errors) == 1
    assert said.errors[0].startswith(f"letta-source: {line.format(url=url)}")
    assert KEY not in said.err


def test_every_option_reaches_the_settings(letta_source: Command, settings: Callable[[], Settings]) -> None:
    letta_source(
        *("run", "--base-url", "http://letta.test:1/v1/", "--agent-id", "agent-1", "--agent-id", "agent-2"),
        *("--batch-id", "batch-1", "--batch-id", "batch-2", "--start-date", "2026-01-02", "--lag", "2h"),
        *("--end-date", "2026-01-03T04:05:06+01:00", "--page-size", "7", "--max-workers", "3", "--refresh"),
        *("--search-query", "a b"),
    )
    chosen = settings().model_dump(mode="json", exclude_defaults=True)
    assert chosen == {
        "base_url": "http://letta.test:1",
        "agent_ids": ["agent-1", "agent-2"],
        "batch_ids": ["batch-1", "batch-2"],
        "start_date": "2026-01-02T00:00:00Z",
        "end_date": "2026-01-03T03:05:06Z",
        "lag": "PT2H",
        "page_size": 7,
        "max_workers": 3,
        "refresh": True,
        "search_query": "a b",
        # From the environment of these tests.
        "retries": 0,
    }


def test_options_win_over_config_and_config_over_lettas_variables(
    letta_source: Command, settings: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", "http://variable.test")
    monkeypatch.setenv("LETTA_PROJECT", "mine")
    monkeypatch.setenv("LETTA_API_KEY", KEY)
    letta_source("run")
    seen = settings()
    assert (seen.base_url, seen.project) == ("http://variable.test", "mine")
    assert seen.api_key
    assert seen.api_key.get_secret_value() == KEY
    monkeypatch.setenv("SOURCES__LETTA__BASE_URL", "http://config.test")
    monkeypatch.setenv("SOURCES__LETTA__REFRESH", "true")
    letta_source("run")
    assert settings().base_url == "http://config.test"
    letta_source("run", "--base-url", "http://option.test")
    seen = settings()
    assert (seen.base_url, seen.refresh) == ("http://option.test", True)


def test_check_of_a_self_hosted_server(letta_source: Command) -> None:
    with serve(recorded_letta(), missing=["groups"]) as server:
        said = letta_source("check", "--base-url", server.base_url)
    first, *families, where, masks = said.out.splitlines()
    assert (said.code, said.err, first) == (0, "", f"{server.base_url} answers without a key.")
    assert dict(line.split()[:2] for line in families) == {
        **dict.fromkeys(("agents", "runs", "conversations", "batches", "messages"), "yes"),
        "groups": "no,",
        "steps": "no,",
        **dict.fromkeys(("blocks", "tools", "identities", "archives"), "yes"),
    }
    assert "  groups         no, skipped (404: Not Found)" in families
    assert "  steps          no, read through runs (400: " in said.out
    assert (where.split()[:3], masks) == (["Loads", "go", "to"], "Masks: none.")
    assert letta_source.files() == []


@pytest.mark.parametrize("variable", ["LETTA_BASE_URL", "SOURCES__LETTA__BASE_URL"])
def test_check_of_cloud(letta_source: Command, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("LETTA_API_KEY", KEY)
    with serve(recorded_letta(), "cloud", api_key=KEY) as server:
        monkeypatch.setenv(variable, server.base_url)
        said = letta_source("check")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{server.base_url} answers with the key.\n")
    assert "  steps          yes\n" in said.out
    assert "  batches        no, skipped (404" in said.out


def test_discover_lists_every_resource(letta_source: Command) -> None:
    said = letta_source("discover")
    assert (said.code, said.err) == (0, "")
    for resource in RESOURCES.values():
        assert f"{resource.name}{' (on request)' * resource.on_request}" in said.out.splitlines()
        for table in resource.tables:
            assert (
                f"  {table.name}: {table.description}\n    key: {', '.join(table.primary_key)}\n" in said.out
            )


def test_discover_prints_json(letta_source: Command) -> None:
    said = letta_source("discover", "--json")
    found = {
        each["resource"]: (
            each["on_request"],
            {
                table["table"]: (
                    tuple(table["primary_key"]),
                    [
                        (one["name"], one["type"], one["nullable"], one["description"])
                        for one in table["columns"]
                    ],
                )
                for table in each["tables"]
            },
        )
        for each in json.loads(said.out)
    }
    assert found == {
        name: (
            resource.on_request,
            {
                table.name: (
                    table.primary_key,
                    [(one.name, one.type, one.nullable, one.description) for one in table.columns],
                )
                for table in resource.tables
            },
        )
        for name, resource in RESOURCES.items()
    }


@pytest.mark.whole
def test_the_demo_runs_twice_and_ignores_the_users_settings(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LETTA_API_KEY", "LETTA_PROJECT", "SOURCES__LETTA__API_KEY", "SOURCES__LETTA__PROJECT"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("LETTA_BASE_URL", NOBODY)
    monkeypatch.setenv("SOURCES__LETTA__AGENT_IDS", '["agent-of-mine"]')
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(letta_source.folder / "mine.duckdb"))
    # The whole month takes longer; `tests/docs/test_newcomer.py` loads it.
    played = Letta(seed=0)
    agent_id = played.add_agent()
    conversation_id = played.add_conversation(agent_id)
    played.talk(agent_id, "ask me", tools=["roll"], approval=True, conversation_id=conversation_id)
    monkeypatch.setattr("letta_source.demo.month_letta", lambda: played)
    servers: list[Server] = []

    class Serving:
        def __init__(self, letta: Letta) -> None:
            self._context = serve(letta)

        def __enter__(self) -> Server:
            servers.append(self._context.__enter__())
            return servers[-1]

        def __exit__(self, *error: object) -> None:
            self._context.__exit__(None, None, None)

    monkeypatch.setattr("letta_source.demo.serve", Serving)
    report = letta_source.folder / "letta_demo_report.html"
    for _ in range(2):
        said = letta_source("demo")
        assert said.code == 0
        messages = letta_source.count("agent_messages", "letta_demo.duckdb")
        assert re.search(rf"^  agent_messages +{messages}$", said.out, re.MULTILINE)
        assert '\n  tool_call          roll {"input": "ask me"}\n' in said.out
        assert "\n  approval_response  approved\n" in said.out
        assert f"\n  letta-source transcript {agent_id} --database letta_demo.duckdb\n" in said.out
        assert "\n  LETTA_API_KEY=… letta-source run\n" in said.out
        assert said.out.endswith(f"\n  {report}\n")
        assert "the demo" in report.read_text("utf-8")
        report.unlink()
    assert not list(letta_source.folder.glob("mine*"))
    sent = [value for server in servers for request in server.requests for value in request.headers.values()]
    assert sent
    assert not [value for value in sent if KEY in value]


def test_the_demo_suggests_commands_that_work_without_an_activated_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from letta_source.cli.demo import typed_again

    command = tmp_path / "my env" / "letta-source"
    command.parent.mkdir()
    command.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["my env/letta-source", "demo"])
    assert typed_again() == "'my env/letta-source'"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "__main__.py"), "demo"])
    assert typed_again() == "letta-source"
    monkeypatch.setenv("PATH", str(command.parent))
    monkeypatch.setattr(sys, "argv", [str(command), "demo"])
    assert typed_again() == "letta-source"


def test_a_demo_without_the_report_extra_says_what_to_install(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from letta_source.cli import demo

    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert demo._report() == 'No report: the report needs vl_convert: pip install ".[report]"'
    assert not list(letta_source.folder.glob("*.html"))


def test_a_closed_pipe_is_not_an_error(letta_source: Command) -> None:
    pipe = f"{sys.executable} -m letta_source discover --json | head -1"
    said = subprocess.run(pipe, shell=True, capture_output=True, text=True, cwd=ROOT, check=True)
    assert (said.stdout, said.stderr) == ("[\n", "")


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["discover"], 0), (["runn"], 2), ([], 2)])
def test_the_process_ends_with_the_exit_code(arguments: list[str], code: int) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "letta_source", *arguments],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert said.returncode == code
    assert said.stdout or code
    assert said.stderr or not code


@pytest.mark.whole
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the DuckDB pinned for Python 3.10 imports it")
def test_a_load_imports_no_pandas(tmp_path: Path) -> None:
    """`pyarrow.array` imports it, and a time's `as_py`: a tenth of a small load's time, and 40 MB."""
    program = "import sys; from letta_source.cli import main; print(main(), 'pandas' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # Some of its times have no zone.
    with serve(recorded_letta()) as server:
        options = ["run", "--base-url", server.base_url, "--mask", "agent_messages.text=redact"]
        said = subprocess.run(
            [sys.executable, "-c", program, *options],
            env=environment, cwd=tmp_path, check=False, capture_output=True, text=True,
        )  # fmt: skip
    assert said.stdout.splitlines()[-1] == "0 False", said.stderr

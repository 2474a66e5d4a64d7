"""Only this program's names configure it, in one order, and unknown names are refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest

from letta_source import letta
from letta_source.demo import Server
from letta_source.errors import ConfigError
from letta_source.settings import SETTINGS, Settings
from letta_source.settings.places import providers
from letta_source.state.session import Session
from tests.support.command import Command
from tests.support.configuration import configure, forget

HERE = "http://localhost:8283"
KEY = "sk-let-0123456789abcdef"


def seen(pipeline: str | None = None, **arguments: Any) -> Settings:
    session = Session(pipeline_name=pipeline)
    letta(**arguments, session=session)
    return session.settings


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LETTA_BASE_URL", HERE)
    yield tmp_path
    forget()


@pytest.mark.parametrize("prefix", ["", "SOURCES__", "LETTA__", "LETTA_SOURCE__"])
def test_names_of_other_programs_do_not_count(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    as_it_is = seen()
    others = {
        "BASE_URL": "http://elsewhere.test",
        "API_KEY": "sk-of-another-service",
        "PROJECT": "theirs",
        "START_DATE": "2030-01-01",
        "END_DATE": "2001-01-01",
        "SHARD": "1/4",
        "REFRESH": "true",
        "AGENT_IDS": '["agent-7"]',
        "PAGE_SIZE": "7",
        "TIMEOUT": "soon",
        "HEADERS": "X-Evil: 1",
        "PROXY": "http://elsewhere.test:1",
        "VALIDATE": "perhaps",
    }
    for name, value in others.items():
        monkeypatch.setenv(f"{prefix}{name}", value)
    if prefix == "":
        monkeypatch.setenv("MASK", "content=hash")
        monkeypatch.setenv("IMAGES", "blur")
    assert seen().model_dump() == as_it_is.model_dump()


@pytest.mark.parametrize(
    "text",
    [
        'base_url = "http://elsewhere.test"\nstart_date = "2030-01-01"',
        '[sources]\nbase_url = "http://elsewhere.test"\npage_size = 5',
        '[sources.other]\nbase_url = "http://elsewhere.test"\nmask = "content=drop"',
        '[other.sources.letta]\nbase_url = "http://elsewhere.test"',
        "[destination.letta]\npage_size = 5",
    ],
)
def test_sections_of_other_programs_do_not_count(here: Path, text: str) -> None:
    as_it_is = seen()
    configure(here, text)
    assert seen().model_dump() == as_it_is.model_dump()


def test_the_order_of_places(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.delenv("LETTA_BASE_URL")
    configure(here, '[sources.letta]\nbase_url = "http://file.test"')
    found = seen()
    assert (found.base_url, found.place_of("base_url")) == (
        "http://file.test", "sources.letta.base_url in config.toml",
    )  # fmt: skip
    configure(here, '[sources.letta.letta]\nbase_url = "http://exact.test"')
    assert seen().base_url == "http://exact.test"
    configure(here, '[mine.sources.letta]\nbase_url = "http://pipeline.test"')
    assert [seen("mine").base_url, seen("mine").place_of("base_url")] == [
        "http://pipeline.test", "mine.sources.letta.base_url in config.toml",
    ]  # fmt: skip
    for variable in ("LETTA_BASE_URL", "SOURCES__LETTA__BASE_URL", "SOURCES__LETTA__LETTA__BASE_URL"):
        monkeypatch.setenv(variable, f"http://{variable.lower().replace('_', '-')}.test")
        assert seen("mine").place_of("base_url") == variable
    monkeypatch.setenv("MINE__SOURCES__LETTA__BASE_URL", "http://mine.test")
    assert (seen("mine").base_url, seen("yours").base_url) == (
        "http://mine.test", "http://sources--letta--letta--base-url.test",
    )  # fmt: skip
    assert seen("mine", base_url="http://argument.test").base_url == "http://argument.test"
    assert seen("mine", base_url="http://argument.test").place_of("base_url") == "as given"


def test_an_active_pipeline_has_its_own_section(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setenv("DLT_DATA_DIR", str(here))
    monkeypatch.setenv("ACTIVE__SOURCES__LETTA__PAGE_SIZE", "77")
    pipeline = dlt.pipeline("active", destination="duckdb")
    try:
        assert seen().page_size == 77
    finally:
        pipeline.deactivate()
    assert seen().page_size == 1000


def test_a_source_under_another_name_has_its_own_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__LETTA__STAGING__PAGE_SIZE", "78")
    session = Session()
    letta.clone(name="staging")(session=session)
    assert session.settings.page_size == 78


def test_references_to_the_configuration_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__LETTA__API_KEY", KEY)
    monkeypatch.setenv("SOURCES__LETTA__PAGE_SIZE", "79")
    found = seen(api_key=dlt.secrets.value, page_size=dlt.config.value)
    assert found.page_size == 79
    assert found.api_key
    assert found.api_key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("agent_ids", "agent-1, agent-2", ("agent-1", "agent-2")),
        ("agent_ids", '["agent-1"]', ("agent-1",)),
        ("validate", "yes", True),
        ("page_size", "5", 5),
        ("requests_per_second", "2.5", 2.5),
        ("mask", "text=redact,agents.system=drop", {"text": "redact", "agents.system": "drop"}),
        ("mask", '{"text": "redact"}', {"text": "redact"}),
        ("memory_limit", "1GiB", 1 << 30),
        ("shard", "1/4", "1/4"),
    ],
)
def test_values_of_variables(monkeypatch: pytest.MonkeyPatch, name: str, value: str, found: Any) -> None:
    monkeypatch.setenv(f"SOURCES__LETTA__{name.upper()}", value)
    got = getattr(seen(), "validate_items" if name == "validate" else name)
    assert (str(got) if name == "shard" else got) == found


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("SOURCES__LETTA__PAGE_SIZE", "many", "page_size: .*integer.* (SOURCES__LETTA__PAGE_SIZE)"),
        ("SOURCES__LETTA__PAGE_SIZE", "", "SOURCES__LETTA__PAGE_SIZE is empty"),
        ("SOURCES__LETTA__MASK", " ", "SOURCES__LETTA__MASK is empty"),
        ("SOURCES__LETTA__MASK", "content", "mask: content: '' is not drop"),
        ("SOURCES__LETTA__MASK", "txt=drop", "did you mean text"),
        ("SOURCES__LETTA__API_KEY", "\n", "SOURCES__LETTA__API_KEY is empty"),
        ("LETTA_API_KEY", f'"{KEY}"', "api_key: must not be in quotes (LETTA_API_KEY)"),
        ("LETTA_API_KEY", f" '{KEY}'\n", "api_key: must not be in quotes (LETTA_API_KEY)"),
        ("LETTA_API_KEY", f"Bearer {KEY}", "api_key: must be the key alone, without Bearer (LETTA_API_KEY)"),
        ("SOURCES__LETTA__API_KEY", f"bearer  {KEY}", "api_key: must be the key alone, without Bearer"),
        ("SOURCES__LETTA__HEADERS", "X-Tenant", "headers: must be a mapping"),
        ("SOURCES__LETTA__HEADERS", "Host: elsewhere", "headers: Host: is set by this program"),
        ("SOURCES__LETTA__PROXY", "proxy.test:8080", "proxy: must be a URL"),
        ("SOURCES__LETTA__PROXY", "http://proxy.test:808080", "proxy: must be a URL"),
        ("SOURCES__LETTA__CA_BUNDLE", "/not/there.pem", "ca_bundle: there is no file /not/there.pem"),
        ("SOURCES__LETTA__CLIENT_CERT", "/not/a.pem,/not/b.pem", "client_cert: there is no file /not/a.pem"),
        ("SOURCES__LETTA__MEMORY_LIMIT", "lots", "memory_limit: must be a size"),
        ("SOURCES__LETTA__MEMORY_LIMIT", "5MB", "memory_limit: .*greater than or equal"),
        ("SOURCES__LETTA__CHANGES", "maybe", "changes: must be"),
        ("SOURCES__LETTA__SWEEP_INTERVAL", "-1d", "sweep_interval: must be a duration"),
        ("LETTA_BASE_URL", "http://localhost:1/?a=b", "base_url: must not hold a query .*LETTA_BASE_URL"),
        ("LETTA_BASE_URL", "http://localhost:82830", "base_url: must be a URL"),
    ],
)  # fmt: skip
def test_an_invalid_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, why: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=why.replace("(", r"\(").replace(")", r"\)")):
        seen()


def test_an_invalid_log_level_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """dlt sets its log's level while it finds its files; its error does not name the setting."""

    def found(_: object) -> None:
        logging.getLogger("of a test").setLevel("nonsense")

    monkeypatch.setattr(type(dlt.config), "config_providers", property(found))
    with pytest.raises(ConfigError, match=r"runtime\.log_level, a setting of dlt, must be a level such as"):
        seen()


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SOURCES__LETTA__MASKS", "SOURCES__LETTA__MASK"),
        ("SOURCES__LETTA__MASK__CONTENT", "set SOURCES__LETTA__MASK as a whole"),
        ("SOURCES__LETTA__HEADERS__X_TENANT", "set SOURCES__LETTA__HEADERS as a whole"),
        ("SOURCES__LETTA__PAGESIZE", "SOURCES__LETTA__PAGE_SIZE"),
        ("SOURCES__LETTA__AGENTS__MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES__LETTA__EXTRACT__MASK", "SOURCES__LETTA__MASK"),
        ("SOURCE__LETTA__MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES_LETTA_MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES_LETTA__IMAGES", "SOURCES__LETTA__IMAGES"),
        ("SOURCES__LETTA_MASK", "SOURCES__LETTA__MASK"),
        ("sources__letta__mask", "SOURCES__LETTA__MASK"),
        ("LETTA_MASK", "SOURCES__LETTA__MASK"),
        ("LETTA__MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES__MASK", "SOURCES__LETTA__MASK"),
        ("MINE__SOURCES__LETTA__MASC", "MINE__SOURCES__LETTA__MASK"),
        ("MINE_SOURCES_LETTA_MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES.LETTA.MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES-LETTA-IMAGES", "SOURCES__LETTA__IMAGES"),
        ("LETTA_SOURCE__MASK", "SOURCES__LETTA__MASK"),
        ("LETTA_SOURCES_MASK_KEY", "SOURCES__LETTA__MASK_KEY"),
        ("LETTA_MASKS", "SOURCES__LETTA__MASK"),
        ("MINE__LETTA__MASK", "SOURCES__LETTA__MASK"),
        # As the documentation writes it, where PIPELINE stands for a name.
        ("PIPELINE__SOURCES__LETTA__MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES__LETA__MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES__LETTAS__IMAGES", "SOURCES__LETTA__IMAGES"),
        ("SOURCES__LETTA_SOURCE__MASK", "SOURCES__LETTA__MASK"),
        ("SOURCES__LETTA__AGENT_MESSAGES__MASKS", "SOURCES__LETTA__MASK"),
        ("SOURCES__LETTA__RUNS__IMAGE", "SOURCES__LETTA__IMAGES"),
        ("SOURCES__LETTA__SCHEMA__CONTRACT", "SOURCES__LETTA__SCHEMA_CONTRACT"),
        ("SOURCES__LETTA__ZZZZ", "docs/configure.md lists the settings"),
    ],
)
def test_an_unknown_variable(monkeypatch: pytest.MonkeyPatch, variable: str, meant: str) -> None:
    monkeypatch.setenv(variable, "content=redact")
    with pytest.raises(ConfigError) as refused:
        seen("mine")
    assert f"{variable} is not read: " in str(refused.value)
    assert meant in str(refused.value)


@pytest.mark.parametrize(
    "variable",
    [
        "LETTA_MASK",
        "LETTA__MASK",
        "LETTA_IMAGES",
        "LETTA_MASK_KEY",
        "LETTA__SCHEMA_CONTRACT",
        "LETTA_LETTA_MASK",
        "LETTA__SOURCE__LETTA__MASK",
        "LETTA_SOURCES_LETTA_MASKS",
    ],
)
def test_an_unknown_variable_of_a_pipeline_with_the_sources_name(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """By default it is: then LETTA may be its name or ours."""
    monkeypatch.setenv(variable, "content=redact")
    with pytest.raises(ConfigError, match=f"{variable} is not read: did you mean SOURCES__LETTA__"):
        seen("letta")


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ('[sources.letta]\nmasks = "content=drop"', "sources.letta.masks", "sources.letta.mask"),
        ("[sources.letta]\npage-size = 5", "sources.letta.page-size", "sources.letta.page_size"),
        ('[sources.letta.masc]\ncontent = "drop"', "sources.letta.masc.content", "sources.letta.mask"),
        ('[sources.letta.agents]\nmask = "name=drop"', "sources.letta.agents.mask", "sources.letta.mask"),
        ('[sources.letta.letta]\nmsk = "name=drop"', "sources.letta.letta.msk", "sources.letta.letta.mask"),
        ('[mine.sources.letta]\nmasks = "text=drop"', "mine.sources.letta.masks", "mine.sources.letta.mask"),
        ('[source.letta]\nmask = "content=drop"', "source.letta.mask", "sources.letta.mask"),
        ('[letta]\nmask = "content=drop"', "letta.mask", "sources.letta.mask"),
        ('[letta.mask]\ncontent = "drop"', "letta.mask", "sources.letta.mask"),
        ('[sources]\nmask = "content=drop"', "sources.mask", "sources.letta.mask"),
        ('mask = "content=drop"', "mask", "sources.letta.mask"),
        ('images = "drop"', "images", "sources.letta.images"),
        ('[sources.Letta]\nmask = "content=drop"', "sources.Letta", "sources.letta"),
        ('[sources.leta]\nmask = "content=drop"', "sources.leta", "sources.letta"),
        ('[Sources.letta]\nmask = "content=drop"', "Sources.letta.mask", "sources.letta.mask"),
        ('[SOURCES.LETTA]\nIMAGES = "drop"', "SOURCES.LETTA.IMAGES", "sources.letta.images"),
        ("[Sources.Letta]\npage_size = 5", "Sources.Letta.page_size", "sources.letta.page_size"),
        ('[Letta]\nmask = "content=drop"', "Letta.mask", "sources.letta.mask"),
        ('["sources.letta"]\nmask = "content=drop"', "sources.letta.mask", "sources.letta.mask"),
        ('"sources.letta.images" = "drop"', "sources.letta.images", "sources.letta.images"),
        ('[sources]\nletta_mask = "content=drop"', "sources.letta_mask", "sources.letta.mask"),
        ('[sources_letta]\nmask = "content=drop"', "sources_letta.mask", "sources.letta.mask"),
        ('[sources.letta_source]\nmasks = "text=drop"', "sources.letta_source.masks", "sources.letta.mask"),
        ('[letta_source]\nmask = "content=drop"', "letta_source.mask", "sources.letta.mask"),
        (
            '[sources.letta.agent_messages]\nmasks = "a"',
            "sources.letta.agent_messages.masks",
            "sources.letta.mask",
        ),
        ('[mine]\nmask = "content=drop"', "mine.mask", "sources.letta.mask"),
        (
            '[pipeline.sources.letta]\nimages = "drop"',
            "pipeline.sources.letta.images",
            "sources.letta.images",
        ),
        ('[mine.letta]\nmask = "content=drop"', "mine.letta.mask", "sources.letta.mask"),
        ('[mine.source.letta]\nmask = "text=drop"', "mine.source.letta.mask", "sources.letta.mask"),
        ('[mine.sources]\nimages = "drop"', "mine.sources.images", "sources.letta.images"),
        ('MASK = "content=drop"', "MASK", "sources.letta.mask"),
        ('Images = "drop"', "Images", "sources.letta.images"),
    ],
)
def test_an_unknown_key(here: Path, text: str, key: str, meant: str) -> None:
    configure(here, text)
    with pytest.raises(ConfigError) as refused:
        seen("mine")
    assert str(refused.value) == f"{key} is not read: did you mean {meant}?"


@pytest.mark.parametrize("text", ['[[sources]]\nletta = "text=drop"', 'sources = "text=drop"'])
def test_sources_that_is_not_a_table(here: Path, text: str) -> None:
    configure(here, text)
    with pytest.raises(ConfigError, match=r"^sources is not read: it must be one table"):
        seen("mine")


@pytest.mark.parametrize("name", ["config.toml", "secrets.toml"])
def test_an_invalid_settings_file(here: Path, name: str) -> None:
    path = here / ".dlt" / name
    path.mkdir(parents=True)
    forget()
    with pytest.raises(ConfigError, match=rf"{name} is a folder: put a file in its place"):
        seen()
    path.rmdir()
    path.symlink_to(here / "away.toml")
    forget()
    with pytest.raises(ConfigError, match=rf"{name} is a link to a file that does not exist"):
        seen()
    (here / "away.toml").write_text("[other]\n")
    forget()
    assert seen().base_url == HERE


@pytest.mark.parametrize(
    "name",
    ["page_size", "max_workers", "retries", "requests_per_second", "checkpoint_rows", "keep_states"],
)
def test_true_is_not_a_number(monkeypatch: pytest.MonkeyPatch, here: Path, name: str) -> None:
    configure(here, f"[sources.letta]\n{name} = true\n")
    with pytest.raises(ConfigError, match=rf"{name}: must be a number \(sources.letta.{name} in"):
        seen()
    configure(here, "")
    monkeypatch.setenv(f"SOURCES__LETTA__{name.upper()}", "true")
    with pytest.raises(ConfigError, match=f"^{name}: must be a"):
        seen()


@pytest.mark.parametrize("text", ['[[sources.letta]]\nmask = "text=drop"', '[sources]\nletta = "text=drop"'])
def test_a_section_that_is_not_a_table(here: Path, text: str) -> None:
    configure(here, text)
    with pytest.raises(ConfigError, match=r"^sources\.letta is not read: it must be one table"):
        seen("mine")


@pytest.mark.parametrize(
    "text",
    [
        '[sources.letta_tools]\nmask = "a"',
        '[other]\nmask = "a"',
        '[sources.github]\nmask = "a"',
        '[other.sources.letta]\nmask = "a"',
        '[Sources.github]\nimages = "a"',
        "[sources.letta.agent_messages]\nmax_table_nesting = 2",
    ],
)
def test_sections_of_other_sources_are_ignored(here: Path, text: str) -> None:
    configure(here, text)
    assert not seen("mine").masking.layers


def test_dlts_own_sections_are_ignored(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    configure(
        here,
        "[sources.letta.data_writer]\nbuffer_max_items = 7\n"
        "[sources.letta.extract.data_writer]\nfile_max_items = 8\n"
        '[sources.letta.schema]\nnaming = "direct"\n[sources.letta.agents.extract]\nworkers = 1\n'
        "[sources.letta_tools]\napi_key = 1\n[letta.sources.letta]\npage_size = 6\n",
    )
    for variable in (
        "SOURCES__LETTA__DATA_WRITER__BUFFER_MAX_ITEMS",
        "SOURCES__LETTA__NORMALIZE__WORKERS",
        "SOURCES__LETTA__AGENT_MESSAGES__DATA_WRITER__FILE_MAX_ITEMS",
        "SOURCES__LETTA_TOOLS__MASK",
        "OTHER__SOURCES__LETTA__MASK",
        "LETTA_PG_URI",
        "LETTA_DIR",
    ):
        monkeypatch.setenv(variable, "9")
    assert seen("letta").page_size == 6


def test_settings_equal_the_sources_arguments() -> None:
    import inspect

    arguments = set(inspect.signature(letta).parameters) - {"session"}
    assert arguments == set(SETTINGS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"[sources.letta\n", "config.toml is not valid TOML: see line 1, column 14"),
        (b"\xef\xbb\xbf[sources.letta]\n", "byte order mark"),
        ("# f\u00fcr alle\n".encode("latin-1"), "config.toml is not in UTF-8"),
        (b"[sources.letta]\npage_size = 'abc\n", "is not valid TOML"),
        (b"[sources.letta]\nlag = 5\nlag = 6\n", "config.toml is not valid TOML: the key lag is set twice"),
        (b"[sources.letta]\n[sources.letta]\n", "is not valid TOML"),
        (b"[a]\nb = 1\n[a.b]\nc = 2\n", "is not valid TOML"),
        (b"api_key = sk-let-canary-of-a-file\n", "is not valid TOML"),
    ],
)
def test_an_unreadable_file_is_one_line(letta_source: Command, here: Path, text: bytes, why: str) -> None:
    configure(here, text)
    for arguments in (("run",), ("check",), ("export", "agents"), ("transcript", "agent-1"), ("report",)):
        said = letta_source(*arguments)
        assert (said.code, said.out) == (2, "")
        assert why in said.err
        assert said.err.count("\n") == 1
        assert "canary" not in said.err


def test_a_secret_in_the_wrong_file(here: Path) -> None:
    configure(here, f'[sources.letta]\napi_key = "{KEY}"')
    with pytest.raises(ConfigError, match=r"sources.letta.api_key in config.toml is a secret") as refused:
        seen()
    assert KEY not in str(refused.value)
    configure(here, "", f'[sources.letta]\napi_key = "{KEY}"\n[sources.letta.headers]\nX-A = "b"')
    found = seen()
    assert found.place_of("api_key") == "sources.letta.api_key in secrets.toml"
    assert {name: value.get_secret_value() for name, value in found.headers.items()} == {"X-A": "b"}


def test_a_failing_vault_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("vault: token hvs.canary is not valid")

    monkeypatch.setattr("dlt.config.__class__.config_providers", property(fail))
    with pytest.raises(ConfigError, match="cannot be read: RuntimeError") as refused:
        providers()
    assert refused.value.__context__ is None


def test_the_host_and_its_origin_are_logged_before_the_first_request(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("SOURCES__LETTA__BASE_URL", server.base_url)
    monkeypatch.setenv("SOURCES__LETTA__MASK", "text=drop")
    said = letta_source("run", "--mask", "agents.system=redact")
    first = said.err.splitlines()[0].partition(" ")[2]
    assert first.startswith(f"info: reads {server.base_url} (SOURCES__LETTA__BASE_URL) into duckdb (")
    assert first.endswith("; masks: agents.system=redact (as given), text=drop (SOURCES__LETTA__MASK)")

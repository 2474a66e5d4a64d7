"""Uses of dlt beyond its documentation: each works, and only certain modules have one."""

from __future__ import annotations

import ast
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.destinations.exceptions import DestinationConnectionError
from dlt.destinations.impl.sqlalchemy.dialect import DIALECT_CAPS_REGISTRY

from letta_source.demo import Server
from letta_source.destinations import dlt_internals, dlt_paths, dlt_storage
from letta_source.destinations.dlt_contract import assert_contract
from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import PackageStorage
from letta_source.destinations.mysql import quiet_merges, widen_texts
from letta_source.errors import ConfigError
from letta_source.source import letta
from tests.support.command import Command
from tests.support.paths import ROOT

# The warning comes from dlt's merge into SQLite.
pytestmark = pytest.mark.filterwarnings("ignore:implicitly coercing SELECT")

PACKAGE = ROOT / "letta_source"
# The first two import undocumented names; the others use them, to read files and to check them.
ROOM = [
    "destinations/dlt_internals.py",
    "destinations/dlt_specs.py",
    "destinations/dlt_lookups.py",
    "destinations/dlt_storage.py",
    "destinations/dlt_files.py",
    "destinations/dlt_paths.py",
    "destinations/dlt_contract.py",
    "destinations/dlt_guard.py",
]
# Documented modules; exceptions are allowed too, because dlt's reference lists them.
DOCUMENTED = {
    "dlt", "dlt.extract", "dlt.common.configuration", "dlt.common.configuration.specs", "dlt.common.typing",
    "dlt.destinations.impl.sqlalchemy.dialect",
}  # fmt: skip
# dlt's undocumented names; those that begin with `_` are found without this list.
UNDOCUMENTED = {
    "caps_params", "complete_load", "config_params", "data_location", "execute_many", "fingerprint",
    "fs_client", "get_resolvable_fields", "open_connection",
    "get_stored_schema", "get_stored_schema_by_hash", "get_stored_state", "get_table_dir", "get_table_prefix",
    "inner_exc", "is_open_table",
    "list_table_files", "live_schemas", "load_open_table", "load_schema",
    "loader_file_format_selector", "merge_strategies_selector",
    "native_connection", "read_only", "save_schema", "update_table",
}  # fmt: skip


def uses(tree: ast.Module) -> Iterator[str]:
    """Yield a module's uses of dlt beyond its documentation."""
    mine = {"self", "cls"}
    functions = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    typed = {
        id(one)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for one in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Attribute):
            of_dlt = node.attr in UNDOCUMENTED and isinstance(node.ctx, ast.Load | ast.Store)
            # A module may use its own private functions, also on a copy of `self`.
            is_private = node.attr.startswith("_") and not node.attr.endswith("__")
            if of_dlt or (is_private and node.attr not in functions and ast.unparse(node.value) not in mine):
                yield ast.unparse(node)
            continue
        elif isinstance(node, ast.Subscript) and ast.unparse(node.slice) == "'_local'":
            yield ast.unparse(node)
            continue
        else:
            continue
        for name in names:
            of_dlt = name.split(".")[0] == "dlt"
            if of_dlt and name not in DOCUMENTED and not name.endswith(".exceptions"):
                yield name


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import dlt\nfrom dlt.pipeline.exceptions import PipelineNotActive\nself._x", []),
        ("from dlt.common.storages import LoadStorage", ["dlt.common.storages"]),
        ("import dlt.common.utils", ["dlt.common.utils"]),
        ("pipeline._schema_storage", ["pipeline._schema_storage"]),
        ("pipeline.state['_local'].get(1)", ["pipeline.state['_local']"]),
        ("client.list_table_files('agents')", ["client.list_table_files"]),
        ("def _opened(self): replace(self)._opened(); client._opened_at", ["client._opened_at"]),
        ("destination.config_params['x'] = 1", ["destination.config_params"]),
    ],
)
def test_a_use_is_found(code: str, found: list[str]) -> None:
    assert [*uses(ast.parse(code))] == found


@cache
def mine() -> set[str]:
    """Return the names that the package itself defines: functions, and attributes that it sets."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
    # Named tuples have these.
    return found | {"_asdict", "_fields", "_replace"}


# Private names of Python itself.
OTHERS = {"argparse._ArgumentGroup", "command._actions", "os._exit", "parser._actions"}


@pytest.mark.parametrize("name", sorted(str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py")))
def test_no_other_module_uses_undocumented_dlt(name: str) -> None:
    if name not in ROOM:
        found = {*uses(ast.parse((PACKAGE / name).read_text("utf-8")))} - OTHERS
        assert {use for use in found if use.rpartition(".")[2] not in mine() or "dlt." in use} == set()


@pytest.mark.parametrize("name", ROOM[2:])
def test_companion_modules_take_dlts_classes_from_it(name: str) -> None:
    found = {*uses(ast.parse((PACKAGE / name).read_text("utf-8")))}
    assert {one for one in found if one.startswith("dlt.")} == set()


def test_the_current_source_and_the_active_pipeline(tmp_path: Path) -> None:
    seen = []

    @dlt.source(name="zoo", section="letta")
    def source() -> list[Any]:
        seen.append(dlt_internals.source_context())
        return []

    source()
    with pipeline(tmp_path, "duckdb") as active:
        source()
    assert seen == [("zoo", None), ("zoo", active.pipeline_name)]


def test_a_destination_is_configured_by_its_section_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs' variables are ignored: dlt's have a section, those of a pipeline too."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://me@here.test/db")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS__PASSWORD", "mine")
    others = {"HOST": "there.test", "PORT": "9", "USERNAME": "they", "PASSWORD": "theirs",
              "CREATE_INDEXES": "false", "CREDENTIALS": "postgresql://they@there.test/db",
              "CONTRACT__PORT": "8", "RESTORE_FROM_DESTINATION": "false"}  # fmt: skip
    for name, value in others.items():
        monkeypatch.setenv(name, value)

    def told() -> tuple[Any, ...]:
        with pipeline(tmp_path, "postgres") as active:
            config: Any = active.destination_client().config
            found = config.credentials
            return (found.host, found.port, found.username, found.password, config.create_indexes,
                    active.config.restore_from_destination)  # fmt: skip

    with dlt_internals.sections_only(), dlt_internals.sections_only():
        assert told() == ("here.test", 5432, "me", "mine", True, False)
    # dlt itself does read them.
    assert told()[-2:] == (False, False)


def test_sections_that_dlt_reads_below_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file size that only our source has works; a section that dlt does not read has no effect."""
    assert {"data_writer", "extract", "normalize", "schema"} == dlt_internals.SOURCE_SECTIONS
    monkeypatch.setenv("SOURCES__ZOO__DATA_WRITER__FILE_MAX_ITEMS", "1")
    monkeypatch.setenv("SOURCES__ZOO__SCHEMA__NAMING", "direct")

    @dlt.source(name="zoo", section="zoo")
    def source() -> Any:
        return dlt.resource([{"Id": at} for at in range(3)], name="Animals")

    with pipeline(tmp_path, "duckdb") as active:
        made = source()
        active.extract(made)
        assert "Animals" in made.schema.tables
        assert len([*Path(active.working_dir).rglob("Animals.*")]) == 3


@contextmanager
def pipeline(folder: Path, destination: Any) -> Iterator[dlt.Pipeline]:
    made = dlt.pipeline("contract", str(folder / "pipelines"), destination=destination, dataset_name="letta")
    try:
        yield made
    finally:
        made.deactivate()


# The uses, one by one.

PLACES = {
    # If a place's name changed, every state stored there would be dropped, and all read again.
    "duckdb": (dlt.destinations.duckdb("/srv/letta/w.duckdb"), "ey9DayGMLPm5rwCN6sy0"),
    "postgres": (
        dlt.destinations.postgres("postgresql://me:secret@db.example.com:5432/w"),
        "wvWnW3PJOfAkC22yLJJr",
    ),
    "sqlalchemy": (dlt.destinations.sqlalchemy("sqlite:////srv/letta/w.db"), "+0fGSKQ1FPJRnL60Jk74"),
    "filesystem": (dlt.destinations.filesystem("file:///srv/letta/lake"), "nhI6llY5WnAhWiHDe4Xp"),
    "bucket": (dlt.destinations.filesystem("memory://bucket/lake"), "WQrwBzi8S939FTbwitYF"),
}


@pytest.mark.parametrize("name", PLACES)
def test_location_ids_match_those_in_existing_states(name: str, tmp_path: Path) -> None:
    destination, place = PLACES[name]
    with pipeline(tmp_path, destination) as made:
        assert dlt_internals.place_of(made.destination_client(), "letta") == place


@pytest.mark.parametrize("name", ["w.duckdb", "a-b/c_d.db", "x y.duckdb", "a:b@c", "é#?%20.duckdb", "W+1~"])
def test_a_duckdb_file_is_shown_as_dlt_shows_it(name: str, tmp_path: Path) -> None:
    """Else its place would have another name, and all would be read again."""
    with pipeline(tmp_path, dlt.destinations.duckdb(str(tmp_path / name))) as made:
        credentials: Any = made.destination_client().config.credentials
        assert dlt_paths._shown(credentials) == dlt_paths._shown_by_dlt(credentials)


def test_local_state_values_and_missing_ones(tmp_path: Path) -> None:
    with pipeline(tmp_path, dlt.destinations.duckdb(str(tmp_path / "w.duckdb"))) as made:
        assert dlt_internals.local_value(made, "letta_source_x") is None
        made.set_local_state_val("letta_source_x", ["a"])
        assert dlt_internals.local_value(made, "letta_source_x") == ["a"]
        with made.managed_state():
            assert dlt_internals.local_value(made, "letta_source_x") == ["a"]


def test_capabilities_equal_those_that_dlt_uses(tmp_path: Path) -> None:
    staging = dlt.destinations.filesystem("memory://bucket")
    for kind, staged in (("duckdb", None), ("postgres", None), ("filesystem", None), ("redshift", staging)):
        made = dlt.pipeline("contract", str(tmp_path), destination=kind, staging=staged, dataset_name="letta")
        try:
            with made._maybe_destination_capabilities() as known:
                found = dlt_internals.dlt_capabilities(made)
                assert found.supported_loader_file_formats == known.supported_loader_file_formats
                assert found.supported_merge_strategies == known.supported_merge_strategies
        finally:
            made.deactivate()


def test_selectors_accept_a_table_with_hints_only() -> None:
    capabilities = dlt.destinations.filesystem("memory://bucket").capabilities()
    assert dlt_internals.merge_strategies(capabilities, {}) == []
    assert "upsert" in dlt_internals.merge_strategies(capabilities, {"table_format": "delta"})
    assert "parquet" in dlt_internals.file_formats(dlt.destinations.postgres().capabilities(), {})


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_the_file_of_a_dataset_is_known_before_it_exists(kind: str, tmp_path: Path) -> None:
    destination = {
        "duckdb": dlt.destinations.duckdb(str(tmp_path / "w.duckdb")),
        "sqlite": dlt.destinations.sqlalchemy(f"sqlite:///{tmp_path}/w.db"),
    }[kind]
    with pipeline(tmp_path, destination) as made:
        file = dlt_internals.database_file(made.destination_client())
        assert file
        assert not file.exists()
        made.run([{"a": 1}], table_name="t")
        assert file.exists()


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_mysql_texts_are_long(kind: str) -> None:
    from sqlalchemy import Column, Integer, MetaData, String, Table, Text
    from sqlalchemy.dialects.mysql import LONGTEXT, VARCHAR

    widen_texts()
    table = Table("t", MetaData(), Column("a", Text()), Column("b", Integer()), Column("c", String(9)))
    adapted: Any = DIALECT_CAPS_REGISTRY[kind](kind).adapt_table(table, {})
    assert [type(column.type) for column in adapted.columns] == [LONGTEXT, Integer, VARCHAR]
    assert {column.type.collation for column in (adapted.c.a, adapted.c.c)} == {"utf8mb4_bin"}


DESTINATIONS = ["duckdb", "sqlite", "files"]


@contextmanager
def loaded(kind: str, folder: Path, server: Server) -> Iterator[dlt.Pipeline]:
    made: dict[str, Callable[[], Any]] = {
        "duckdb": lambda: dlt.destinations.duckdb(str(folder / "w.duckdb")),
        "sqlite": lambda: dlt.destinations.sqlalchemy(
            f"sqlite:///{folder}/w.db", loader_parallelism_strategy="sequential"
        ),
        "files": lambda: dlt.destinations.filesystem((folder / "lake").as_uri()),
    }
    destination = made[kind]()
    with pipeline(folder, destination) as loading:
        loading.run(letta(base_url=server.base_url).with_resources("agents"))
        yield loading


@pytest.mark.parametrize("kind", DESTINATIONS)
def test_the_stored_state(kind: str, tmp_path: Path, server: Server) -> None:
    with loaded(kind, tmp_path, server) as made, made.destination_client() as client:
        newest = dlt_storage.newest_loads(client)
        assert [*newest] == ["contract"]
        state, load_id = dlt_internals.stored_state(client, "contract") or ({}, "")
        assert load_id == newest["contract"]
        assert "agents" in state["sources"]["letta"]["resources"]
        assert dlt_internals.stored_state(client, "other") is None
        assert abs(dlt_internals.began(load_id).timestamp() - time.time()) < 600


def test_files_of_a_dataset(tmp_path: Path, server: Server) -> None:
    with loaded("files", tmp_path, server) as made, Files.opened(made) as files:
        assert files
        (load_id,) = files.finished_loads()
        (file,) = files.of_table("agents")
        assert load_id in file
        assert files.of_table("nothing") == []
        assert "agents" in (files.stored_tables() or {})
        assert files.has_schema(made.default_schema.version_hash)
        assert not files.has_schema("b3RoZXI=")
        assert files.open_table("delta", "agents") is None
    with loaded("duckdb", tmp_path, server) as made, Files.opened(made) as files:
        assert files is None


def test_connections_below_the_clients(tmp_path: Path, server: Server) -> None:
    with loaded("duckdb", tmp_path, server) as made:
        client = dlt_internals.sql_client_of(made.destination_client())
        assert dlt_internals.dialect_of(client) == "duckdb"
        dlt_internals.read_only(client)
        with client:
            connection = dlt_internals.connection_of(client)
            with pytest.raises(duckdb.InvalidInputException, match="read-only"):
                connection.execute("CREATE TABLE letta.t (a INTEGER)")
    with loaded("sqlite", tmp_path, server) as made, made.sql_client() as client:
        assert dlt_internals.dialect_of(client) == "sqlite"
        dlt_internals.connection_of(client).execution_options(stream_results=True)
        assert client.execute_sql("SELECT 1") == [(1,)]
    with loaded("files", tmp_path, server) as made:
        assert dlt_internals.sql_client_of(made.destination_client()) is None


def test_load_packages_on_disk(tmp_path: Path, server: Server) -> None:
    with pipeline(tmp_path, dlt.destinations.duckdb(str(tmp_path / "w.duckdb"))) as made:
        folder = Path(made.working_dir)
        made.extract(letta(base_url=server.base_url).with_resources("agents"))
        (extracted,) = (folder / "normalize" / dlt_internals.NormalizeStorage.EXTRACTED_FOLDER).iterdir()
        assert (extracted / PackageStorage.NEW_JOBS_FOLDER).is_dir()
        schema = extracted / PackageStorage.SCHEMA_FILE_NAME
        with pipeline(tmp_path / "other", dlt.destinations.duckdb(":memory:")) as other:
            dlt_internals.keep_schema(other, schema)
            assert "agents" in other.schemas["letta"].tables
        made.activate()
        made.normalize()
        (package,) = (folder / "load" / dlt_internals.LoadStorage.NORMALIZED_FOLDER).iterdir()
        jobs = [*(package / PackageStorage.NEW_JOBS_FOLDER).iterdir()]
        assert "agents" in {dlt_internals.table_of_job(job) for job in jobs}
        assert (package / PackageStorage.STARTED_JOBS_FOLDER).is_dir()
        made.load()
        (done,) = (folder / "load" / dlt_internals.LoadStorage.LOADED_FOLDER).iterdir()
        assert (done / PackageStorage.PACKAGE_COMPLETED_FILE_NAME).exists()
        completed = (done / PackageStorage.COMPLETED_JOBS_FOLDER).iterdir()
        assert "agents" in {dlt_internals.table_of_job(job) for job in completed}


def test_files_being_written_have_random_names(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop while dlt writes a file with a state or a schema."""

    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    with pipeline(tmp_path, dlt.destinations.duckdb(str(tmp_path / "w.duckdb"))) as made:
        made.run([{"a": 1}], table_name="t")
        assert dlt_internals.half_written(Path(made.working_dir)) == []
        monkeypatch.setattr("dlt.common.storages.file_storage.os.replace", kill)
        with pytest.raises(Killed):
            made.set_local_state_val("x", 1)
        monkeypatch.undo()
        (left,) = dlt_internals.half_written(Path(made.working_dir))
        assert left.parent == Path(made.working_dir)


def test_the_cause_of_a_failed_connection(tmp_path: Path) -> None:
    (tmp_path / "w.duckdb").write_bytes(b"no database " * 999)
    destination = dlt.destinations.duckdb(str(tmp_path / "w.duckdb"))
    with (
        pipeline(tmp_path, destination) as made,
        pytest.raises(DestinationConnectionError) as failed,
        made.sql_client(),
    ):
        raise AssertionError
    assert isinstance(dlt_internals.cause_of(failed.value), duckdb.Error)
    assert dlt_internals.cause_of(ValueError()) is None


def test_the_column_hint_warning_is_recognized(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the filter, each page would log the warning."""
    caplog.set_level(logging.WARNING, "dlt")
    said: list[str] = []

    def seen(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    monkeypatch.setattr("letta_source.extract.resources.is_column_hint_warning", seen)
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "WARNING")
    logger = logging.getLogger("dlt")
    monkeypatch.setattr(logger, "level", logging.WARNING)
    for one in [*logger.filters]:
        logger.removeFilter(one)
    with loaded("duckdb", tmp_path, server):
        pass
    monkeypatch.undo()
    record = logging.LogRecord("dlt", logging.WARNING, "", 0, "x", None, None)
    assert not dlt_internals.is_column_hint_warning(record)
    for text in said:
        record.msg = text
        if dlt_internals.is_column_hint_warning(record):
            return
    pytest.fail(f"dlt says it in other words: {said}")


# The check at the start of a load.


def test_the_check_takes_less_than_ten_milliseconds() -> None:
    assert_contract()
    begun = time.perf_counter()
    assert_contract()
    assert time.perf_counter() - begun < 0.01


BROKEN = [
    (dlt_internals.DestinationClientConfiguration, "data_location"),
    (dlt_internals.DestinationClientConfiguration, "fingerprint"),
    (dlt_internals.DltCapabilities, "merge_strategies_selector"),
    (dlt_internals.SqlClientBase, "native_connection"),
    (dlt_internals.WithStateSync, "get_stored_state"),
    (PackageStorage, "PENDING_TRANSITIONS_FOLDER"),
    (dlt_internals.LoadStorage, "NORMALIZED_FOLDER"),
    (dlt_internals.NormalizeStorage, "EXTRACTED_FOLDER"),
    (dlt_internals.ParsedLoadJobFileName, "parse"),
    (dlt_internals.SchemaStorage, "save_schema"),
    (dlt_internals.Schema, "from_dict"),
]


@pytest.mark.parametrize(("owner", "name"), BROKEN)
def test_a_missing_internal_is_one_line_before_data_moves(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(owner, name)
        said = letta_source.load(server)
    assert (said.code, len(said.errors), letta_source.files(), server.requests) == (2, 1, [], [])
    assert said.err.startswith(f"letta-source: dlt {dlt.__version__} has no ")
    assert "pip install 'dlt~=1.31.0'" in said.err


@pytest.mark.parametrize("name", ["list_table_files", "load_open_table"])
def test_changed_parameters_are_detected(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(dlt_internals.FilesystemClient, name, lambda client: None)
    with pytest.raises(ConfigError, match="client of files"):
        assert_contract()


def test_changed_names_are_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PackageStorage, "NEW_JOBS_FOLDER", "waiting_jobs")
    with pytest.raises(ConfigError, match="folders of load packages"):
        assert_contract()


def test_an_untested_version_warns_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dlt, "__version__", "1.99.0")
    for _ in range(2):
        assert_contract()
    assert [record.getMessage() for record in caplog.records] == [
        f"dlt 1.99.0 has not been tested with letta_source; the newest that has is {dlt_internals.TESTED[-1]}"
    ]


def test_the_installed_version_is_listed_as_tested() -> None:
    assert ".".join(dlt.__version__.split(".")[:2]) in dlt_internals.TESTED


def test_only_the_merge_warning_is_suppressed() -> None:
    with quiet_merges():
        warnings.warn("implicitly coercing SELECT object to scalar subquery; please use …", stacklevel=1)
        with pytest.raises(UserWarning, match="something else"):
            warnings.warn("something else", stacklevel=1)

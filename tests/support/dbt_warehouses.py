"""A DuckDB file, a PostgreSQL database and a Snowflake, filled by `letta-source run`, in which dbt builds."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg2

from tests.support.environments import environment_python
from tests.support.paths import ROOT
from tests.support.postgres import create_database
from tests.support.processes import ran

DATASET = "letta"
_LISTS = ROOT / "tests" / "dbt"
# fakesnow needs a DuckDB that Python 3.10 does not have.
_PYTHON_VERSIONS = ("3.11", "3.12", "3.13")
# Its file is the database, its name in capitals, as Snowflake has names.
_SNOWFLAKE_FILE = "LETTA_DB.db"
# A call ends soon, and collecting garbage takes a tenth of it.
_DBT = "import gc; gc.disable(); from dbt.cli.main import cli; cli()"
# fakesnow cannot create temporary tables and views in a schema, which dbt drops itself.
_FAKED_DBT = r"""
import gc, re, fakesnow
gc.disable()
from fakesnow.cursor import FakeSnowflakeCursor
execute = FakeSnowflakeCursor.execute
def without_temporary(cursor, command, *args, **kwargs):
    return execute(cursor, re.sub("(create or replace) +temporary", r"\1", command), *args, **kwargs)
FakeSnowflakeCursor.execute = without_temporary
with fakesnow.patch(db_path={folder!r}):
    from dbt.cli.main import cli
    cli()
"""


class DbtWarehouse(ABC):
    """One database.

    Attributes:
        folder: the folder in which the loads run.
        options, load_environment: the user's settings for loading into it.
        models_environment: the variables that `integration_tests/profiles.yml` asks for.
    """

    runs_unit_tests = True
    options: tuple[str, ...]
    load_environment: dict[str, str]
    models_environment: dict[str, str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, base_url: str, *arguments: str) -> None:
        """Run `letta-source run` into the dataset `letta`."""
        environment = {
            **os.environ,
            **self.load_environment,
            "LETTA_BASE_URL": base_url,
            "DLT_DATA_DIR": str(self.folder / "dlt"),
        }
        done = ran(self.folder, ("run", *self.options, *arguments), environment)
        assert done.returncode == 0, done.stderr

    def tables(self) -> set[str]:
        """Return the names of the loaded tables."""
        query = f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{DATASET}'"
        return {name for (name,) in self.rows(query) if not name.startswith("_dlt")}

    def dbt(self) -> tuple[Path, str, tuple[str, ...]]:
        """Return the Python of dbt, a program that calls it, and what that imports."""
        versions = (*_PYTHON_VERSIONS, "3.10")
        python = environment_python("dbt", _LISTS / "dbt.txt", versions, no_deps=True)
        return python, _DBT, ("dbt.cli.main", "dbt.adapters.duckdb", "dbt.adapters.postgres")

    @abstractmethod
    def rows(self, query: str, schemas: str = DATASET) -> list[tuple[Any, ...]]:
        """Run a query; its tables are looked up in the schemas, which are separated by commas."""

    @abstractmethod
    def execute(self, *statements: str) -> None:
        """Change the loaded data."""

    @abstractmethod
    def copy(self, folder: Path) -> DbtWarehouse:
        """Return another warehouse with the same content."""


class DbtDuckDB(DbtWarehouse):
    options = ()
    load_environment: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file = folder / "letta_db.duckdb"
        self.models_environment = {"LETTA_DBT_TARGET": "duckdb", "LETTA_DBT_DUCKDB": str(self._file)}

    def rows(self, query: str, schemas: str = DATASET) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self._file), read_only=True) as connection:
            connection.execute(f"SET search_path = '{schemas}'")
            return connection.execute(query).fetchall()

    def execute(self, *statements: str) -> None:
        with duckdb.connect(str(self._file)) as connection:
            connection.execute(f"SET schema = '{DATASET}'")
            for statement in statements:
                connection.execute(statement)

    def copy(self, folder: Path) -> DbtDuckDB:
        shutil.copy(self._file, folder / self._file.name)
        return DbtDuckDB(folder)


class DbtSnowflake(DbtDuckDB):
    """A Snowflake that fakesnow plays: it runs Snowflake's SQL, translated, in a DuckDB file.

    The loads go into another DuckDB file. Its tables are copied, typed as dlt types them in Snowflake.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._loaded = self._file
        (folder / "snowflake").mkdir(exist_ok=True)
        self._file = folder / "snowflake" / _SNOWFLAKE_FILE
        self.models_environment = {
            "LETTA_DBT_TARGET": "snowflake",
            "LETTA_DBT_DATABASE": self._file.stem,
            # Of two threads that connect at once, one finds the file in use.
            "LETTA_DBT_THREADS": "1",
        }

    def dbt(self) -> tuple[Path, str, tuple[str, ...]]:
        python = environment_python("dbt-snowflake", _LISTS / "snowflake.txt", _PYTHON_VERSIONS, no_deps=True)
        script = _FAKED_DBT.format(folder=str(self._file.parent))
        return python, script, ("dbt.cli.main", "dbt.adapters.snowflake", "fakesnow", "fakesnow.cursor")

    def load(self, base_url: str, *arguments: str) -> None:
        super().load(base_url, *arguments)
        with duckdb.connect(str(self._file)) as connection:
            connection.execute(f"ATTACH '{self._loaded}' AS loaded (READ_ONLY)")
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{DATASET.upper()}"')
            tables: dict[str, list[str]] = {}
            for table, name, kind in connection.execute(
                "SELECT table_name, column_name, data_type FROM duckdb_columns()"
                f" WHERE database_name = 'loaded' AND schema_name = '{DATASET}' ORDER BY 1, column_index"
            ).fetchall():
                # json is text in Snowflake.
                value = f"CAST({name} AS VARCHAR)" if kind == "JSON" else name
                tables.setdefault(table, []).append(f'{value} AS "{name.upper()}"')
            for table, columns in tables.items():
                connection.execute(
                    f'CREATE OR REPLACE TABLE "{DATASET.upper()}"."{table.upper()}" AS'
                    f" SELECT {', '.join(columns)} FROM loaded.{DATASET}.{table}"
                )


class DbtPostgres(DbtWarehouse):
    options = ("--destination", "postgres")

    def __init__(self, folder: Path, server: str, name: str, template: str = "template1") -> None:
        super().__init__(folder)
        self._server = server
        self._name = name
        self._url = create_database(server, name, template)
        self.load_environment = {"DESTINATION__POSTGRES__CREDENTIALS": self._url}
        parts = urlsplit(self._url)
        self.models_environment = {
            "LETTA_DBT_TARGET": "postgres",
            "LETTA_DBT_HOST": parts.hostname or "",
            "LETTA_DBT_PORT": str(parts.port),
            "LETTA_DBT_USER": parts.username or "",
            "LETTA_DBT_PASSWORD": parts.password or "",
            "LETTA_DBT_DATABASE": name,
        }

    def rows(self, query: str, schemas: str = DATASET) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {schemas}")
            cursor.execute(query)
            return cursor.fetchall()

    def execute(self, *statements: str) -> None:
        with closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {DATASET}")
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def copy(self, folder: Path) -> DbtPostgres:
        return DbtPostgres(folder, self._server, f"{self._name}_{folder.name}", self._name)

"""Text columns in MySQL and MariaDB, and merges there and in SQLite.

TEXT, which dlt chooses, holds 65,535 bytes: less than dlt's own copy of a schema. The server's encoding may
be latin1, and its collations equate `A` with `a`, and ignore a space at the end of a text.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_merges() -> Iterator[None]:
    """Suppress SQLAlchemy's warning about the SQL of each merge by dlt, while the block runs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="implicitly coercing SELECT object to scalar subquery")
        yield


def widen_texts() -> None:
    """Have dlt create MySQL's text columns as LONGTEXT from now on: 4 GB of UTF-8, compared by byte.

    Datasets get that encoding, too: a server's default may be latin1, which the next load would refuse.
    """
    # SQLAlchemy is installed only for destinations that need it.
    from dlt.destinations.impl.sqlalchemy.dialect import (
        MysqlDialectCapabilities,
        register_dialect_capabilities,
    )
    from sqlalchemy import String
    from sqlalchemy.dialects.mysql import LONGTEXT, VARCHAR
    from sqlalchemy.ext.compiler import compiles
    from sqlalchemy.schema import CreateSchema

    class Capabilities(MysqlDialectCapabilities):
        def adapt_table(self, table: Any, table_schema: Any) -> Any:
            for column in table.columns:
                if isinstance(column.type, String):
                    texts = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}
                    length = column.type.length
                    column.type = VARCHAR(length, **texts) if length else LONGTEXT(**texts)
            return table

    for name in ("mysql", "mariadb"):
        register_dialect_capabilities(name, Capabilities)
        compiles(CreateSchema, name)(_in_utf8)


def _in_utf8(create: Any, compiler: Any, **options: Any) -> str:
    return f"{compiler.visit_create_schema(create, **options)} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

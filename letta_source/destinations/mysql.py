"""Columns of texts in MySQL and MariaDB, and merges there and in SQLite.

TEXT, which dlt chooses, holds 65,535 bytes: less than dlt's own copy of a schema. The server's encoding may
be latin1, and its collations take `A` for `a`, and a text with a space at its end for one without.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_merges() -> Iterator[None]:
    """Keep SQLAlchemy from warning, while the block runs, of the SQL that dlt makes for each merge."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="implicitly coercing SELECT object to scalar subquery")
        yield


def widen_texts() -> None:
    """Have dlt make columns of texts LONGTEXT there from now on, 4 GB of UTF-8 that are compared by byte.

    Datasets are made so, too: a server's default may be latin1, which the next load would refuse.
    """
    # Only who loads by sqlalchemy has it installed.
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

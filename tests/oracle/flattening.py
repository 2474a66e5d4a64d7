"""Turns a page into rows with the tested code; when that code changes, only this module does."""

from __future__ import annotations

import pyarrow as pa

from letta_source.items import split_page
from letta_source.rows.children import search_result
from letta_source.rows.flatten import Rows
from letta_source.safe_text import parse_json
from letta_source.schema.resources import RESOURCES
from tests.oracle.dumps import LOAD_ID, SEQUENCE, Page


def tables_of(page: Page) -> dict[str, pa.Table]:
    """Return the page's rows by table; `_dlt_load_id` is LOAD_ID, `sequence` begins with SEQUENCE."""
    items = parse_json(page.body.encode())
    if page.resource == "message_search":
        items = [search_result(item) for item in items]
    rows = Rows(RESOURCES[page.resource], tombstones=True, sequence=SEQUENCE)
    rows.add(split_page(items)[0], page.parent_id, page.again)
    return dict(rows.tables(LOAD_ID))

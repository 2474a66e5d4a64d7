"""Read the pages from disk into a table with DuckDB; print the number of rows.

Usage: read_json.py URL FOLDER DATABASE
"""

import sys
from urllib.request import urlopen

import duckdb

url, folder, database = sys.argv[1:]
with urlopen(f"{url}/-/begin"):
    pass
with duckdb.connect(database) as connection:
    connection.execute(
        f"CREATE TABLE agent_messages AS FROM read_json('{folder}/*.json', format = 'array',"
        " maximum_object_size = 100_000_000)"
    )
    print(connection.execute("SELECT count(*) FROM agent_messages").fetchall()[0][0])

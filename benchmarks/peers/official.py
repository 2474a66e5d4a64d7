"""Read with the official client in a loop into a pandas DataFrame; print the number of rows.

Usage: official.py URL
"""

# Its packages are installed in an environment of their own.
# mypy: ignore-errors

import sys

import pandas
from letta_client import Letta

client = Letta(base_url=sys.argv[1], api_key="none")
rows = []
for agent in client.agents.list(limit=1000, order="asc"):
    for message in client.agents.messages.list(
        agent.id, limit=1000, order="asc", use_assistant_message=False
    ):
        rows.append({"agent_id": agent.id, **message.model_dump()})
print(len(pandas.DataFrame(rows)))

"""`letta-source report`: a loaded dataset as one HTML file, for who leads a team that runs agents.

`read` takes the columns it needs out of any destination into a local DuckDB (`store`); there `model` runs the
dbt package's models of turns, tool calls and costs, and `facts` asks them what the report says;
`charts` draws it and `page` puts all of it into one file that needs no network and no script.
"""

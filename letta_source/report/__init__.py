"""Report on a loaded dataset: one HTML file, for people who lead a team that runs agents.

`warehouse` copies the columns it needs from any destination into a local DuckDB (`store`). There `model` runs
the dbt package's models of turns, tool calls and costs, and `facts` queries them. `charts` draws the result,
and `page` puts everything into one file that needs no network. Its only script, `filter.js`, shows the
figures of a chosen agent, model and time from the data of `filter_data`.
"""

{{ letta_staging('load_issues', always=true) }}

"""Write the tables of dlt's settings in `docs/configure.md`: `python docs/dlt_settings_table.py`.

`letta_source.loading.dlt_rules` decides what a load sets and refuses; this file decides about the rest.
`tests/loading/test_dlt_decisions.py` takes all settings from dlt, and fails when one is undecided.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from letta_source.loading.dlt_rules import OURS, REFUSED, REFUSED_OF_DESTINATION

PAGE = Path(__file__).with_name("configure.md")
_BEGIN = "<!-- Written by docs/dlt_settings_table.py. -->\n"
_END = "<!-- Until here, the settings of dlt. -->"

OURS_OTHERWISE: Mapping[str, tuple[str, str]] = {
    "pipelines.refresh": ("none", "each package would drop what the one before loaded; use `--refresh`"),
    "pipelines.dev_mode": ("false", "each run would load everything into another dataset"),
    "pipelines.full_refresh": ("false", "as `dev_mode`"),
    "destination.enable_dataset_name_normalization": (
        "false",
        "the dataset's name is normalized before; the staging dataset's must not be",
    ),
    "destination.staging_dataset_name_layout": (
        "[its own](warehouses.md#the-staging-dataset)",
        "unless you set it: pipelines would share one",
    ),
    "PGCLIENTENCODING": ("`UTF8`", "PostgreSQL's Parquet driver always sends UTF-8"),
}
"""Settings of dlt that are overridden where the pipeline and the destination are created."""

YOURS: Mapping[str, str] = {
    "load": "workers raise_on_max_retries parallelism_strategy delete_completed_jobs truncate_staging_dataset"
    " start_new_jobs_on_signal run_sleep",
    "normalize": "workers start_method run_sleep",
    "extract": "workers max_parallel_items next_item_mode futures_poll_interval copy_on_fork",
    "schema": "naming allow_identifier_change_on_table_with_data use_break_path_on_normalize",
    "data_writer": "buffer_max_items file_max_items file_max_bytes disable_compression version compression"
    " data_page_size row_group_size allow_truncated_timestamps use_compliant_nested_type write_page_index"
    " use_content_defined_chunking supports_dictionary_encoding arrow_concat_promote_options",
    "pipelines": "pipelines_dir dataset_name_layout staging_type staging_name export_schema_path"
    " import_schema_path pipeline_salt restore_from_destination enable_runtime_trace progress",
    "runtime": "log_level log_format sentry_dsn slack_incoming_hook dlthub_telemetry"
    " dlthub_telemetry_endpoint dlthub_telemetry_segment_write_key dlthub_dsn intercept_signals run_id"
    " http_show_error_body http_max_error_body_length request_timeout request_max_attempts"
    " request_backoff_factor request_max_retry_delay config_files_storage_path",
    "destination": "replace_strategy info_tables_query_threshold"
    " truncate_tables_on_staging_destination_before_load environment",
    "destination.duckdb": "create_indexes local_dir",
    "destination.motherduck": "create_indexes",
    "destination.postgres": "create_indexes",
    "destination.bigquery": "location project_id has_case_sensitive_identifiers"
    " should_set_case_sensitivity_on_new_dataset http_timeout file_upload_timeout retry_deadline batch_size"
    " enable_atomic_replace",
    "destination.snowflake": "stage_name keep_staged_files query_tag create_indexes use_vectorized_scanner"
    " enable_atomic_swap use_decfloat use_nested_types use_timestamp_tz",
    "destination.redshift": "create_indexes staging_iam_role has_case_sensitive_identifiers",
    "destination.databricks": "staging_credentials_name is_staging_external_location staging_volume_name"
    " keep_staged_files create_indexes create_comments",
    "destination.clickhouse": "dataset_table_separator table_engine_type dataset_sentinel_table_name"
    " staging_use_https select_sequential_consistency",
    "destination.sqlalchemy": "create_unique_indexes local_dir engine_kwargs engine_args",
    "destination.filesystem": "bucket_url layout warn_unsafe_layout_separators kwargs client_kwargs"
    " config_kwargs current_datetime extra_placeholders max_state_files always_refresh_views local_dir"
    " deltalake_storage_options deltalake_configuration deltalake_streamed_exec iceberg_table_properties"
    " iceberg_namespace_properties iceberg_use_catalog_purge",
}
"""Settings by their section that are taken as they are, within what is refused."""

WITHOUT_EFFECT: Mapping[str, tuple[str, str]] = {
    "load": ("pool_type start_method", "a load runs in threads"),
    "normalize": (
        "pool_type delete_completed_jobs import_schema_path export_schema_path external_schema_format"
        " external_schema_format_remove_defaults model_normalizer.add_dlt_id"
        " model_normalizer.add_dlt_load_id",
        "dlt chooses the pool, reads the others elsewhere, and no SQL models are loaded",
    ),
    "schema": ("json_normalizer", "rows come as Arrow tables, with children of their own"),
    "data_writer": (
        "delimiter include_header quoting lineterminator encoding encoding_errors on_error_continue",
        "nothing is written as CSV",
    ),
    "pipelines": (
        "pipeline_name dataset_name destination_type destination_name use_single_dataset",
        "set by options; there is only one schema",
    ),
    "runtime": ("pipeline_name", "set by an option"),
    "destination": (
        "destination_type destination_name dataset_name default_schema_name",
        "set by options",
    ),
    "destination.duckdb": ("pipeline_name pipeline_working_dir legacy_db_path", "dlt fills them in"),
    "destination.postgres": ("csv_format", "nothing is written as CSV"),
    "destination.snowflake": ("csv_format", "nothing is written as CSV"),
    "destination.redshift": ("csv_format", "nothing is written as CSV"),
    "destination.databricks": ("zerobus", "it cannot merge"),
    "destination.sqlalchemy": ("pipeline_name pipeline_working_dir legacy_db_path", "dlt fills them in"),
    "destination.filesystem": (
        "pipeline_name pipeline_working_dir legacy_db_path as_staging_destination read_only",
        "dlt fills them in",
    ),
}
"""Settings that change nothing here, and why."""


def page() -> str:
    """Return the whole page; everything outside the marks is written by hand."""
    head, begin, rest = PAGE.read_text("utf-8").partition(_BEGIN)
    return f"{head}{begin}\n{tables()}\n\n{_END}{rest.partition(_END)[2]}"


def tables() -> str:
    """Return the tables of settings that are set and refused, and the lists of the rest."""
    ours = [(key, str(value).lower(), why) for key, (value, why) in OURS.items()]
    ours += [(key, value, why) for key, (value, why) in OURS_OTHERWISE.items()]
    refused = {**REFUSED, **{f"destination.{key}": rule for key, rule in REFUSED_OF_DESTINATION.items()}}
    lines = [
        "`letta-source run` and `letta_source.load` set these, and log a line if your value differs:\n",
        "| setting of dlt | set to | because otherwise |\n| --- | --- | --- |",
        *(f"| `{key}` | {value} | {why} |" for key, value, why in ours),
        "\nThese are refused with exit code 2 before anything is read, as is any value of the wrong type:\n",
        "| setting of dlt | refused when |\n| --- | --- |",
        *(f"| `{key}` | {rule.when} |" for key, rule in refused.items()),
        "\nThese are yours to choose:\n",
        *(f"- `{section}`: {_names(names)}" for section, names in YOURS.items()),
        "\nThese change nothing here:\n",
        *(f"- `{section}`: {_names(names)}: {why}" for section, (names, why) in WITHOUT_EFFECT.items()),
    ]
    return "\n".join(lines)


def _names(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split())


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")

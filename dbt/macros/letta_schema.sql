{#- Made by generate.py: the tables of letta_source, with their columns as `name type`.

If a family has a parent, its key and its columns begin with the parent's id. -#}
{% macro letta_schema() %}
{%- set agents -%}
id text, name text, agent_type text, description text, created_at timestamp, updated_at timestamp,
created_by_id text, last_updated_by_id text, model text, embedding text, system text, tags json, message_ids
json, tool_rules json, llm_config json, embedding_config json, model_settings json, compaction_settings
json, response_format json, metadata json, memory json, blocks json, tools json, sources json,
tool_exec_environment_variables json, secrets json, project_id text, template_id text, base_template_id
text, deployment_id text, entity_id text, identity_ids json, identities json, pending_approval json,
message_buffer_autoclear bool, enable_sleeptime bool, multi_agent_group json, managed_group json,
last_run_completion timestamp, last_run_duration_ms bigint, last_stop_reason text, timezone text,
max_files_open bigint, per_file_view_window_char_limit bigint, hidden bool, extra json, _letta_deleted_at
timestamp, _dlt_load_id text
{%- endset -%}
{%- set groups -%}
id text, manager_type text, description text, agent_ids json, manager_agent_id text, termination_token text,
max_turns bigint, sleeptime_agent_frequency bigint, turns_counter bigint, last_processed_message_id text,
max_message_buffer_length bigint, min_message_buffer_length bigint, shared_block_ids json, project_id text,
template_id text, base_template_id text, deployment_id text, hidden bool, extra json, _letta_deleted_at
timestamp, _dlt_load_id text
{%- endset -%}
{%- set runs -%}
id text, agent_id text, conversation_id text, status text, created_at timestamp, completed_at timestamp,
stop_reason text, background bool, base_template_id text, metadata json, request_config json, callback_url
text, callback_sent_at timestamp, callback_status_code bigint, callback_error text, ttft_ns bigint,
total_duration_ns bigint, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set steps -%}
id text, run_id text, agent_id text, status text, stop_reason text, model text, model_handle text,
model_endpoint text, provider_id text, provider_name text, provider_category text, context_window_limit
bigint, prompt_tokens bigint, completion_tokens bigint, total_tokens bigint, cached_input_tokens bigint,
cache_write_tokens bigint, reasoning_tokens bigint, prompt_tokens_details json, completion_tokens_details
json, origin text, organization_id text, project_id text, tid text, trace_id text, request_id text, tags
json, messages json, feedback text, error_type text, error_data json, extra json, _letta_deleted_at
timestamp, _dlt_load_id text
{%- endset -%}
{%- set conversations -%}
id text, agent_id text, created_at timestamp, updated_at timestamp, created_by_id text, last_updated_by_id
text, summary text, last_message_at timestamp, in_context_message_ids json, isolated_block_ids json, model
text, model_settings json, archived bool, archived_at timestamp, description text, context_window_limit
bigint, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set batches -%}
id text, status text, created_at timestamp, updated_at timestamp, created_by_id text, last_updated_by_id
text, completed_at timestamp, stop_reason text, job_type text, user_id text, agent_id text, background bool,
metadata json, callback_url text, callback_sent_at timestamp, callback_status_code bigint, callback_error
text, ttft_ns bigint, total_duration_ns bigint, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set agent_messages -%}
id text, position bigint, sequence bigint, created_at timestamp, message_type text, name text, otid text,
sender_id text, run_id text, step_id text, is_err bool, seq_id bigint, text text, reasoning text, source
text, signature text, state text, hidden_reasoning text, approve bool, approval_request_id text, reason
text, summary text, compaction_stats json, event_type text, event_data json, extra json, _letta_deleted_at
timestamp, _dlt_load_id text
{%- endset -%}
{%- set agent_messages__content -%}
message_id text, position bigint, idx bigint, type text, text text, signature text, reasoning text,
is_native bool, data text, source_type text, url text, media_type text, file_id text, detail text,
tool_call_id text, name text, input json, is_error bool, content_id text, summary json, encrypted_content
text, extra json, _dlt_load_id text
{%- endset -%}
{%- set agent_messages__tool_calls -%}
message_id text, position bigint, idx bigint, tool_call_id text, name text, arguments text, arguments_json
json, type text, _dlt_load_id text
{%- endset -%}
{%- set agent_messages__tool_returns -%}
message_id text, position bigint, idx bigint, tool_call_id text, status text, tool_return text, stdout json,
stderr json, type text, _dlt_load_id text
{%- endset -%}
{%- set agent_messages__approvals -%}
message_id text, position bigint, idx bigint, tool_call_id text, type text, approve bool, reason text,
status text, tool_return text, stdout json, stderr json, _dlt_load_id text
{%- endset -%}
{%- set step_messages -%}
id text, position bigint, sequence bigint, created_at timestamp, message_type text, name text, otid text,
sender_id text, run_id text, is_err bool, seq_id bigint, text text, reasoning text, source text, signature
text, state text, hidden_reasoning text, approve bool, approval_request_id text, reason text, summary text,
compaction_stats json, event_type text, event_data json, extra json, _letta_deleted_at timestamp,
_dlt_load_id text
{%- endset -%}
{%- set batch_messages -%}
id text, position bigint, sequence bigint, created_at timestamp, role text, name text, otid text, sender_id
text, run_id text, step_id text, is_err bool, agent_id text, group_id text, conversation_id text, model
text, text text, approve bool, approval_request_id text, denial_reason text, batch_item_id text,
tool_call_id text, created_by_id text, last_updated_by_id text, updated_at timestamp, extra json,
_letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set message_search -%}
id text, position bigint, sequence bigint, embedded_text text, rrf_score double, fts_rank bigint,
vector_rank bigint, created_at timestamp, role text, name text, otid text, sender_id text, run_id text,
step_id text, is_err bool, agent_id text, group_id text, conversation_id text, model text, text text,
approve bool, approval_request_id text, denial_reason text, batch_item_id text, tool_call_id text,
created_by_id text, last_updated_by_id text, updated_at timestamp, message_type text, reasoning text, extra
json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set blocks -%}
id text, label text, value text, char_limit bigint, description text, tags json, metadata json, is_template
bool, template_name text, read_only bool, hidden bool, preserve_on_migration bool, created_by_id text,
last_updated_by_id text, project_id text, template_id text, base_template_id text, deployment_id text,
entity_id text, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set step_metrics -%}
run_id text, agent_id text, step_start_ns bigint, llm_request_start_ns bigint, llm_request_ns bigint,
tool_execution_ns bigint, step_ns bigint, organization_id text, provider_id text, project_id text,
template_id text, base_template_id text, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set tools -%}
id text, name text, tool_type text, description text, source_type text, source_code text, json_schema json,
args_json_schema json, tags json, return_char_limit bigint, pip_requirements json, npm_requirements json,
default_requires_approval bool, enable_parallel_execution bool, metadata json, created_by_id text,
last_updated_by_id text, project_id text, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set identities -%}
id text, identifier_key text, name text, identity_type text, properties json, agent_ids json, block_ids
json, organization_id text, project_id text, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set archives -%}
id text, name text, description text, created_at timestamp, updated_at timestamp, created_by_id text,
last_updated_by_id text, organization_id text, vector_db_provider text, embedding_config json, metadata
json, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set passages -%}
id text, archive_id text, text text, tags json, metadata json, created_at timestamp, updated_at timestamp,
created_by_id text, last_updated_by_id text, organization_id text, is_deleted bool, source_id text, file_id
text, file_name text, embedding_config json, extra json, _letta_deleted_at timestamp, _dlt_load_id text
{%- endset -%}
{%- set load_issues -%}
load_started_at timestamp, resource text, parent_id text, kind text, detail text, after_id text, before_id
text, known bool, next_try_at timestamp, resolved bool, _dlt_load_id text
{%- endset -%}
{{- return({
    'families': {
        'agents': {'key': ['id'], 'columns': agents, 'parent': none, 'on': true},
        'groups': {'key': ['id'], 'columns': groups, 'parent': none, 'on': true},
        'runs': {'key': ['id'], 'columns': runs, 'parent': none, 'on': true},
        'steps': {'key': ['id'], 'columns': steps, 'parent': none, 'on': true},
        'conversations': {'key': ['id'], 'columns': conversations, 'parent': none, 'on': true},
        'batches': {'key': ['id'], 'columns': batches, 'parent': none, 'on': true},
        'agent_messages': {'key': ['id', 'position'], 'columns': agent_messages, 'parent': 'agent_id', 'on': true},
        'group_messages': {'key': ['id', 'position'], 'columns': agent_messages, 'parent': 'group_id', 'on': true},
        'step_messages': {'key': ['id', 'position'], 'columns': step_messages, 'parent': 'step_id', 'on': true},
        'batch_messages': {'key': ['id', 'position'], 'columns': batch_messages, 'parent': 'batch_id', 'on': true},
        'conversation_messages': {'key': ['id', 'position'], 'columns': agent_messages, 'parent': 'conversation_id', 'on': false},
        'messages': {'key': ['id', 'position'], 'columns': agent_messages, 'parent': none, 'on': false},
        'message_search': {'key': ['id', 'position'], 'columns': message_search, 'parent': 'query', 'on': false},
        'blocks': {'key': ['id'], 'columns': blocks, 'parent': none, 'on': false},
        'agent_blocks': {'key': ['id'], 'columns': blocks, 'parent': 'agent_id', 'on': false},
        'step_metrics': {'key': [], 'columns': step_metrics, 'parent': 'id', 'on': false},
        'tools': {'key': ['id'], 'columns': tools, 'parent': none, 'on': false},
        'identities': {'key': ['id'], 'columns': identities, 'parent': none, 'on': false},
        'archives': {'key': ['id'], 'columns': archives, 'parent': none, 'on': false},
        'passages': {'key': ['id'], 'columns': passages, 'parent': 'agent_id', 'on': false},
        'load_issues': {'key': ['load_started_at', 'resource', 'parent_id', 'kind', 'after_id', 'before_id'], 'columns': load_issues, 'parent': none, 'on': true},
    },
    'children': {
        'content': {'key': ['message_id', 'position', 'idx'], 'columns': agent_messages__content},
        'tool_calls': {'key': ['message_id', 'position', 'idx'], 'columns': agent_messages__tool_calls},
        'tool_returns': {'key': ['message_id', 'position', 'idx'], 'columns': agent_messages__tool_returns},
        'approvals': {'key': ['message_id', 'position', 'idx'], 'columns': agent_messages__approvals},
    },
}) -}}
{% endmacro %}

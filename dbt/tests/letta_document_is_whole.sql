-- No chunk is too long, and no character is lost: one line break separates two pieces of a chunk.
{%- set size = var('letta_document_chunk_size', 4000) | int %}
{%- set most = var('letta_document_longest_message', 16777216) | int %}

with chunks as (

    select
        count(*) as chunks,
        coalesce(sum(characters), 0) as characters,
        coalesce(max(characters), 0) as longest
    from {{ ref('letta__document') }}

),

pieces as (

    select
        count(*) as pieces,
        coalesce(sum(length(piece)), 0) as characters,
        coalesce(max(piece_index), 0) as last_index
    from {{ ref('int_letta__document_pieces') }}

)

select
    chunks.longest,
    pieces.last_index,
    chunks.characters as in_chunks,
    pieces.characters as in_pieces
from chunks
cross join pieces
where chunks.longest > {{ size }}
    or chunks.characters <> pieces.characters + pieces.pieces - chunks.chunks
    -- A message that is longer than letta_document_longest_message was cut.
    or pieces.last_index >= {{ most // size }}

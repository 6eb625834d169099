-- What an offer says of its parameters, its tracking URLs and its traces. Operators edit it by SQL: what makes no sense
-- is refused here already, by constraints that say in their names what would be right.

alter table offers
    add column stop_at       text[],
    add column param_filter  jsonb,
    add column rename        jsonb,
    add column tracking_urls jsonb,
    add column trace_backend text not null default 'default'
        constraint offers_trace_backend_is_default_local_or_service
        check (trace_backend in ('default', 'local', 'service')),
    -- Between line feeds, so that an item is told from two.
    add constraint offers_stop_at_holds_hosts_without_scheme_port_or_path check (
        stop_at is null or stop_at = '{}'
        or cardinality(stop_at) <= 20 and array_position(stop_at, null) is null
        and array_to_string(stop_at, e'\n')
            ~ e'^(\\[[0-9A-Fa-f:.]+\\]|[^][[:space:]/\\\\?#@:%*{}]+)(\n(\\[[0-9A-Fa-f:.]+\\]|[^][[:space:]/\\\\?#@:%*{}]+))*$'),
    add constraint offers_param_filter_is_keep_or_drop_with_a_list_of_names check (
        case when param_filter is null then true
             when jsonb_typeof(param_filter) <> 'object' then false
             else (param_filter ? 'keep') <> (param_filter ? 'drop')
                  and param_filter - 'keep' - 'drop' = '{}'
                  and jsonb_path_match(param_filter, 'strict $.*.type() == "array"')
                  and not jsonb_path_exists(param_filter, 'strict $.*[*] ? (@.type() != "string" || @ == "")') end),
    add constraint offers_rename_maps_names_to_names check (
        case when rename is null then true
             when jsonb_typeof(rename) <> 'object' then false
             else not rename ? ''
                  and not jsonb_path_exists(rename, 'strict $.* ? (@.type() != "string" || @ == "")') end),
    add constraint offers_tracking_urls_is_a_list_of_url_and_weight check (
        case when tracking_urls is null then true
             when jsonb_typeof(tracking_urls) <> 'array' then false
             else jsonb_array_length(tracking_urls) between 1 and 50
                  and jsonb_array_length(tracking_urls) = jsonb_array_length(jsonb_path_query_array(tracking_urls,
                      'strict $[*] ? (@.type() == "object"
                          && @.url.type() == "string" && @.url like_regex "^https?://" flag "i"
                          && (!exists(@.keyvalue() ? (@.key == "weight"))
                              || @.weight.type() == "number" && @.weight > 0 && @.weight <= 1000000)
                          && !exists(@.keyvalue() ? (@.key != "url" && @.key != "weight")))')) end);

comment on column offers.final_url is
    'the tracking URL: where the redirect chain starts, and where a fallback goes; may carry macros such as {gclid}';
comment on column offers.stop_at is
    'hosts, which stand for those below them as well: the first Location that points there ends a trace, unfetched';
comment on column offers.param_filter is
    '{"keep": [names]} or {"drop": [names]}: which of a click''s parameters are added to the landing URL; null: all';
comment on column offers.rename is
    'inbound names and what they become where they are added, such as {"gclid": "sub1"}; null: none';
comment on column offers.tracking_urls is
    'share the clicks instead of final_url: [{"url": "https://ads.example/a", "weight": 3}, …]; null: final_url alone';
comment on column offers.trace_backend is 'who traces: local, service, or default for the setting trace.backend';

-- What advice goes by, and what `tracepool explain` tells of the IP that a trace had.

alter table active_trace_requests
    add column if not exists provider    text,
    add column if not exists verdict     text,
    add column if not exists ip_unused_s double precision,
    add column if not exists ip_choices  integer;

comment on column active_trace_requests.provider is 'whose IP the trace had';
comment on column active_trace_requests.verdict is 'ok, or whose fault it was that the trace did not land';
comment on column active_trace_requests.ip_unused_s is 'seconds since the IP''s last lease began; null: its first one';
comment on column active_trace_requests.ip_choices is 'how many of the country''s IPs were available, this one included';

alter table ip_pool_statistics
    add column if not exists bytes_per_trace_1h double precision;

comment on column ip_pool_statistics.bytes_per_trace_1h is 'received by a trace of the last hour on average; null: none ended';

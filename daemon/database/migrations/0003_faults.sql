-- Through which IPs a trace was tried, how it ended, and what it cost.

alter table active_trace_requests
    add column ips_tried  text[] not null default '{}',
    add column exit_ip    text,
    add column reason     text,
    add column bytes_sent bigint not null default 0;

comment on column active_trace_requests.ips_tried is 'ip_address of each attempt, in order; ip_assigned is the last';
comment on column active_trace_requests.exit_ip is 'the address that the proxy left by, where its provider tells it';
comment on column active_trace_requests.reason is 'a short code: how it ended, unless it landed';
comment on column active_trace_requests.bytes_received is 'of all attempts';

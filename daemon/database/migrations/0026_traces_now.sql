-- Batch traces that begin ahead of pool.batch_below_percent.

alter table active_trace_requests add column starts_now boolean not null default false;
comment on column active_trace_requests.starts_now is
    'a batch trace that begins as soon as an IP is free, ahead of pool.batch_below_percent';

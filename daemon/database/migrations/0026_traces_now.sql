-- Batch traces that begin ahead of pool.batch_below_percent.

alter table active_trace_requests add column starts_now boolean not null default false;
comment on column active_trace_requests.starts_now is
    'a batch trace that begins as soon as an IP is free, ahead of pool.batch_below_percent';

create index active_trace_requests_ahead on active_trace_requests (target_country, priority, created_at)
    where priority > 0 and starts_now and status in ('pending', 'processing');

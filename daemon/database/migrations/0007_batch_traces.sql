-- Traces that nobody waits for: a row with a priority above 0 is work for the daemon, whoever inserts it.

alter table active_trace_requests add column priority smallint not null default 0 check (priority between 0 and 9);
comment on column active_trace_requests.priority is
    '0: a click''s. Above: traced while the country''s pool is not busy, a lower number first; survives restarts';

create index active_trace_requests_batch on active_trace_requests (target_country, priority, created_at)
    where priority > 0 and status in ('pending', 'processing');

create function tracepool_announce_traces() returns trigger language plpgsql as $$
begin
    if exists (select from new_rows where priority > 0 and status = 'pending') then
        perform pg_notify('tracepool_traces', '');
    end if;
    return null;
end $$;

create trigger announce_traces after insert on active_trace_requests
    referencing new table as new_rows for each statement
    when (current_setting('tracepool.writer', true) is distinct from 'daemon')
    execute function tracepool_announce_traces();

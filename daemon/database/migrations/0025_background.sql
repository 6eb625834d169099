-- Clicks that are answered at once. Their traces are queued as batch traces are, before these.
alter table offers
    add column mode text not null default 'wait'
        constraint offers_mode_is_wait_or_background check (mode in ('wait', 'background'));

comment on column offers.mode is
    'wait: a visitor waits for the landing page; background: is answered at once, and the trace follows';

alter table hits
    drop constraint hits_outcome_check,
    add constraint hits_outcome_is_resolved_fallback_or_background
        check (outcome in ('resolved', 'fallback', 'background')) not valid;

comment on column hits.outcome is
    'resolved: sent to the landing page; fallback, with its reason; background: answered at once, and traced afterwards';

alter table click_minutes add column background integer not null default 0;

comment on column click_minutes.background is 'clicks that were answered at once, which are not among the others';

alter table active_trace_requests add column identity jsonb;

comment on column active_trace_requests.identity is
    'what a background click''s trace sends of the visitor''s browser, until it has ended';
comment on column active_trace_requests.priority is
    '0: of a visitor who waits. Above: traced while the country''s pool is not busy, a lower number first; survives '
    'restarts. 1: of a background click, 2: tracepool trace and POST /api/traces';

update active_trace_requests set priority = 2 where priority = 1 and status in ('pending', 'processing');

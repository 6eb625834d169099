-- Requests to forget a person. Entries of the journal that come later are compared with the digest: no table has the
-- address or the click id itself.
create table forget_requests (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default clock_timestamp(),
    kind   text not null check (kind in ('visitor', 'click_id')),
    digest text not null
);
-- The clicks that are forgotten: entries of them may still come.
create table forgotten_clicks (
    request_id uuid primary key,
    at         timestamptz not null default now()
);
create index forgotten_clicks_at on forgotten_clicks (at);

comment on table forget_requests is 'SHA-256 of an address or a click id that late entries may still have; kept while such entries make rows';

create function tracepool_announce_forget() returns trigger language plpgsql set search_path from current as $$
begin
    perform pg_notify('tracepool_forget', '');
    return null;
end $$;
create trigger announce_forget after insert on forget_requests
    for each statement execute function tracepool_announce_forget();

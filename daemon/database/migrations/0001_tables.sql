-- The tables that operators query and edit by hand, and what the daemon needs beside them.

create sequence ip_edit_no;

create table ip_rotation_pool (
    id                   uuid primary key default gen_random_uuid(),
    ip_address           text not null check (ip_address <> ''),
    ip_port              text not null default '7000',
    country              text not null default 'us' check (country <> ''),
    provider             text not null default 'luna',
    status               text not null default 'available'
                         check (status in ('available', 'locked', 'cooldown', 'failed')),
    locked_until         timestamptz,
    locked_by_request    uuid,
    last_used_at         timestamptz,
    total_uses           bigint not null default 0,
    success_count        bigint not null default 0,
    failure_count        bigint not null default 0,
    consecutive_failures integer not null default 0,
    is_healthy           boolean not null default true,
    avg_response_time_ms double precision,
    last_health_check    timestamptz,
    lease_no             bigint not null default 0,
    edit_no              bigint not null default nextval('ip_edit_no'),
    notes                text,
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now(),
    unique (ip_address, ip_port)
);
create index ip_rotation_pool_country_status on ip_rotation_pool (country, status);
create index ip_rotation_pool_locked_until on ip_rotation_pool (locked_until) where locked_until is not null;
create index ip_rotation_pool_edit_no on ip_rotation_pool (edit_no);

comment on column ip_rotation_pool.lease_no is 'grows with each lease: a release of an older one changes nothing';
comment on column ip_rotation_pool.edit_no is 'grows with each edit that is not the daemon''s own';

create table offers (
    id              uuid primary key default gen_random_uuid(),
    offer_name      text not null unique check (offer_name <> ''),
    final_url       text not null,
    target_country  text not null default 'us',
    is_active       boolean not null default true,
    deadline_s      double precision check (deadline_s between 1 and 60),
    user_agent      text not null default 'default' check (user_agent in ('default', 'visitor')),
    landing_schemes text[] not null default '{}',
    notes           text,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now()
);

comment on column offers.final_url is 'the tracking URL: where the redirect chain starts, and where a fallback goes';
comment on column offers.deadline_s is 'a visitor''s longest wait; null: the setting click.deadline_s';
comment on column offers.landing_schemes is 'beyond http and https, such as market or intent: where a chain may land';
comment on column offers.user_agent is 'default: the setting trace.user_agent; visitor: the click''s own';

create table active_trace_requests (
    request_id       uuid primary key default gen_random_uuid(),
    offer_id         uuid,
    tracking_url     text not null,
    target_country   text not null,
    inbound_params   jsonb not null default '{}',
    ip_assigned      text,
    ip_locked_at     timestamptz,
    status           text not null default 'pending'
                     check (status in ('pending', 'processing', 'completed', 'failed', 'timeout')),
    started_at       timestamptz not null default now(),
    completed_at     timestamptz,
    timeout_at       timestamptz,
    final_url        text,
    extracted_params jsonb,
    redirect_chain   jsonb,
    error_message    text,
    wait_time_ms     integer,
    trace_time_ms    integer,
    total_time_ms    integer,
    retry_count      integer not null default 0,
    bytes_received   bigint not null default 0,
    created_at       timestamptz not null default now()
);
create index active_trace_requests_created_at on active_trace_requests (created_at);
create index active_trace_requests_unfinished on active_trace_requests (timeout_at)
    where status in ('pending', 'processing');

create table hits (
    request_id      uuid primary key,
    offer_id        uuid,
    offer_name      text not null,
    outcome         text not null check (outcome in ('resolved', 'fallback')),
    reason          text,
    location        text not null,
    visitor_address text,
    user_agent      text,
    referrer        text,
    wait_ms         integer not null,
    created_at      timestamptz not null default now()
);
create index hits_created_at on hits (created_at);

create table ip_pool_statistics (
    id                       bigint generated always as identity primary key,
    recorded_at              timestamptz not null default now(),
    total_ips                integer not null,
    available_ips            integer not null,
    locked_ips               integer not null,
    cooldown_ips             integer not null,
    failed_ips               integer not null,
    pool_utilization_percent double precision not null,
    active_requests          integer not null,
    completed_requests_1h    integer not null,
    failed_requests_1h       integer not null,
    avg_wait_time_ms         double precision,
    avg_trace_time_ms        double precision,
    requests_queued          integer not null default 0,
    country_breakdown        jsonb not null default '{}'
);
create index ip_pool_statistics_recorded_at on ip_pool_statistics (recorded_at);

create table journal_position (
    node_id    uuid primary key,
    epoch      bigint not null,
    seq        bigint not null,
    applied_at timestamptz not null default now()
);
comment on table journal_position is 'how far each node''s journal has been applied here; moves with the rows it tells of';

-- An edit that is not the daemon's own gets a number and is announced, so that the daemon adopts it. The daemon's own
-- transactions set tracepool.writer and pass unseen. What is announced: the range of edit numbers one statement gave.

create function tracepool_number_edit() returns trigger language plpgsql as $$
begin
    new.edit_no := nextval('ip_edit_no');
    new.updated_at := now();
    return new;
end $$;

create trigger number_edit before update on ip_rotation_pool for each row
    when (current_setting('tracepool.writer', true) is distinct from 'daemon'
          and (old.status, old.is_healthy, old.consecutive_failures, old.locked_until,
               old.ip_address, old.ip_port, old.country, old.provider)
              is distinct from
              (new.status, new.is_healthy, new.consecutive_failures, new.locked_until,
               new.ip_address, new.ip_port, new.country, new.provider))
    execute function tracepool_number_edit();

create function tracepool_announce_ips() returns trigger language plpgsql as $$
declare
    first_no bigint;
    last_no bigint;
begin
    if current_setting('tracepool.writer', true) is not distinct from 'daemon' then
        return null;
    end if;
    if tg_op = 'INSERT' then
        select min(edit_no), max(edit_no) into first_no, last_no from new_rows;
    elsif tg_op = 'UPDATE' then
        select min(n.edit_no), max(n.edit_no) into first_no, last_no
        from new_rows n left join old_rows o on o.id = n.id
        where n.edit_no is distinct from o.edit_no;
        perform pg_notify('tracepool_ips', 'gone')
        where exists (select from old_rows o left join new_rows n on n.id = o.id where n.id is null);
    elsif tg_op = 'DELETE' then
        if exists (select from old_rows) then
            perform pg_notify('tracepool_ips', 'gone');
        end if;
        return null;
    else
        perform pg_notify('tracepool_ips', 'gone');
        return null;
    end if;
    if first_no is not null then
        perform pg_notify('tracepool_ips', first_no || ' ' || last_no);
    end if;
    return null;
end $$;

create trigger announce_insert after insert on ip_rotation_pool
    referencing new table as new_rows for each statement execute function tracepool_announce_ips();
create trigger announce_update after update on ip_rotation_pool
    referencing old table as old_rows new table as new_rows for each statement execute function tracepool_announce_ips();
create trigger announce_delete after delete on ip_rotation_pool
    referencing old table as old_rows for each statement execute function tracepool_announce_ips();
create trigger announce_truncate after truncate on ip_rotation_pool
    for each statement execute function tracepool_announce_ips();

create function tracepool_announce_offers() returns trigger language plpgsql as $$
begin
    perform pg_notify('tracepool_offers', '');
    return null;
end $$;

create trigger announce_offers after insert or update or delete or truncate on offers
    for each statement execute function tracepool_announce_offers();

-- Named statements, see queries.py; evidence.sql has those for advice and plans, and some modules build their own.

-- name: load_ips
-- $1: this node. Its rows for the pool actors. A row that is set aside is no IP of the pool.
select id, ip_address, ip_port, username, password, country, provider, status,
       extract(epoch from locked_until)::float8 as locked_until,
       locked_by_request, extract(epoch from last_used_at)::float8 as last_used_at, total_uses, success_count,
       failure_count, consecutive_failures, is_healthy, avg_response_time_ms,
       extract(epoch from last_health_check)::float8 as last_health_check, lease_no, edit_no, probe_failures
from ip_rotation_pool where node_id = $1 and set_aside is null

-- name: load_ids
-- $1: this node. Used to find deleted rows, and rows that have another owner.
select id from ip_rotation_pool where node_id = $1 and set_aside is null

-- name: others_edited
-- $1: this node, $2, $3: edit numbers. The rows that are no IPs of this node (any more).
select id from ip_rotation_pool where edit_no between $2 and $3 and (node_id is distinct from $1 or set_aside is not null)

-- name: others_of
-- $1: this node, $2: ids. Those that other nodes own.
select id from ip_rotation_pool where id = any($2::uuid[]) and node_id <> $1 and set_aside is null

-- name: take_ips
-- $1: this node, $2: whether no other node can run, $3, $4: edit numbers, or null, $5: the most rows. Takes what nobody
-- owns, without the endpoints that another node may still use under a former row.
-- By ctid: a join by id, planned before the table is analyzed, takes hours for 100,000 rows.
update ip_rotation_pool set node_id = $1
where ctid = any (array(
    select i.ctid from ip_rotation_pool i
    where (i.node_id is null or $2 and i.node_id <> $1) and ($3::bigint is null or i.edit_no between $3 and $4)
          and ($2 or not exists (
              select from departed_endpoints d
              where (d.ip_address, d.ip_port, d.username) = (i.ip_address, i.ip_port, coalesce(i.username, ''))
                    and d.node_id <> $1))
    limit $5 for update of i skip locked))

-- name: find_beat
-- $1: this node, $2: its claim.
select beat, extract(epoch from pg_postmaster_start_time())::float8 as server_s
from nodes where node_id = $1 and claim = $2 and state = 'active'

-- name: fingerprint
-- $1: this node. Changes with each edit that the daemon takes over: edit_no only grows, so each edit of its own rows
-- changes count or sum. `nobodys`: rows to take; `departed`: endpoints that this node may still use without a row.
select ips.*,
       (select coalesce(sum(hashtextextended(o::text, 0)), 0)::text from offers o) as offers,
       (select coalesce(sum(hashtextextended(concat(id, name, role, hash, revoked_at), 0)), 0)::text
        from control_tokens) as tokens,
       (select coalesce(max(id), 0) from forget_requests) as forgets,
       (select count(*) from departed_endpoints where node_id = $1) as departed
from (select count(*) filter (where node_id = $1) as ips,
             coalesce(sum(edit_no) filter (where node_id = $1), 0)::text as edits,
             count(*) filter (where node_id is null) as nobodys
      from ip_rotation_pool) ips

-- name: load_tokens
-- All tokens, also revoked ones, the newest first: if there is any, the control face requires a token.
select name, role, hash, revoked_at from control_tokens order by created_at desc, name

-- name: move_position
-- $1 node, $2 lane, $3 epoch, $4 new seq, $5 previous seq. No row: this batch, or a part of it, has been applied
-- already, or this database has lost earlier entries, or a later run of the node (take_positions) moves the position.
insert into journal_position as p (node_id, lane, epoch, seq)
select $1, $2, $3, $4
where $5::bigint = 0 or exists (select from journal_position where node_id = $1 and lane = $2)
on conflict (node_id, lane) do update set epoch = $3, seq = $4, applied_at = now()
    where p.seq = $5 and p.seq < $4 and p.epoch <= $3
returning seq

-- name: read_positions
select lane, seq, epoch from journal_position where node_id = $1

-- name: take_positions
-- $1 node, $2 epoch of its spool. From now on no earlier run moves the positions, not even one with a copy of the spool,
-- whose epoch may be the same.
update journal_position set epoch = greatest($2, 1 + (select max(epoch) from journal_position where node_id = $1))
where node_id = $1 returning lane, seq, epoch

-- name: apply_ip_changed
-- $1: an array of entries in order; $2: this node, null for entries whose states are out of date. The additions of all
-- entries count, whoever owns the IP. Of each IP that this node owns, the last state is applied, unless the row has a
-- later lease number: by a later lease, or because the IP has had another owner. A row that an operator has edited since
-- keeps the operator's values. `again`: the entry was refused once, so it comes late. total_uses, success_count,
-- failure_count: the values in entries of earlier versions, which have no additions.
with r as materialized (
    select * from rows from (jsonb_to_recordset($1::jsonb) as (
        id uuid, status text, locked_until float8, locked_by_request uuid, last_used_at float8, consecutive_failures int,
        is_healthy bool, avg_response_time_ms float8, last_health_check float8, lease_no bigint, edit_no bigint,
        probe_failures int, again bool, uses int, successes int, failures int, total_uses bigint, success_count bigint,
        failure_count bigint)) with ordinality as r(
        id, status, locked_until, locked_by_request, last_used_at, consecutive_failures, is_healthy,
        avg_response_time_ms, last_health_check, lease_no, edit_no, probe_failures, again, uses, successes, failures,
        total_uses, success_count, failure_count, place)
), counted as materialized (
    select id, coalesce(sum(uses), 0) as uses, coalesce(sum(successes), 0) as successes,
           coalesce(sum(failures), 0) as failures, max(total_uses) as total_uses, max(success_count) as success_count,
           max(failure_count) as failure_count
    from r group by id
), state as (
    update ip_rotation_pool p
    set status = case when p.edit_no <= e.edit_no then e.status else p.status end,
        locked_until = case when p.edit_no <= e.edit_no then to_timestamp(e.locked_until) else p.locked_until end,
        is_healthy = case when p.edit_no <= e.edit_no then e.is_healthy else p.is_healthy end,
        consecutive_failures =
            case when p.edit_no <= e.edit_no then e.consecutive_failures else p.consecutive_failures end,
        locked_by_request = e.locked_by_request,
        last_used_at = to_timestamp(e.last_used_at),
        total_uses = greatest(p.total_uses, c.total_uses) + c.uses,
        success_count = greatest(p.success_count, c.success_count) + c.successes,
        failure_count = greatest(p.failure_count, c.failure_count) + c.failures,
        avg_response_time_ms = e.avg_response_time_ms,
        last_health_check = to_timestamp(e.last_health_check),
        lease_no = e.lease_no,
        probe_failures = coalesce(e.probe_failures, 0),
        updated_at = now()
    from (select distinct on (id) * from r order by id, again is true, place desc) e join counted c on c.id = e.id
    where p.id = e.id and p.node_id = $2 and p.lease_no <= e.lease_no
    returning p.id
), others as (
    update ip_rotation_pool p
    set total_uses = p.total_uses + c.uses, success_count = p.success_count + c.successes,
        failure_count = p.failure_count + c.failures
    from counted c
    where p.id = c.id and c.uses + c.successes + c.failures > 0 and not exists (select from state s where s.id = c.id)
    returning p.id)
select from state union all select from others

-- name: lock_given
-- $1: an array of entries `ip_given`. So apply_ip_given sees the rows as they are after operators' statements.
select from ip_rotation_pool
where id in (select id from jsonb_to_recordset($1::jsonb) as (id uuid)) order by id for update

-- name: apply_ip_given
-- $1: an array of entries; $2: this node, the giver. The new owner alone is notified, by the edit numbers. The IP is
-- nobody's if the receiver is not active, or if another node may still use the endpoint that an operator has set
-- meanwhile. The row has times of this node's clock, so the new owner must not read the end of a rest that is over.
with given as (
    update ip_rotation_pool p
    set node_id = case when d.ip_address is null then n.node_id end, lease_no = e.lease_no + 1,
        edit_no = nextval('ip_edit_no'), locked_until = null, locked_by_request = null, updated_at = now()
    from (select id, "to", max(lease_no) as lease_no
          from jsonb_to_recordset($1::jsonb) as (id uuid, "to" uuid, lease_no bigint) group by id, "to") e
    join ip_rotation_pool i on i.id = e.id
    left join nodes n on n.node_id = e."to" and n.state = 'active'
    left join (select ip_address, ip_port, username, array_agg(distinct node_id) as users
               from departed_endpoints group by 1, 2, 3) d
        on (d.ip_address, d.ip_port, d.username) = (i.ip_address, i.ip_port, coalesce(i.username, ''))
           and d.users <> array[e."to"]
    where p.id = e.id and p.node_id = $2 and p.lease_no <= e.lease_no
    returning p.edit_no, p.node_id)
select pg_notify('tracepool_ips', concat_ws(' ', min(edit_no), max(edit_no), node_id)) from given group by node_id

-- name: apply_trace_pending
-- $2: days, null for no limit. Traces that are older are not inserted: they would be removed at once.
insert into active_trace_requests
    (request_id, offer_id, tracking_url, target_country, inbound_params, started_at, timeout_at, created_at, node_id)
select request_id, offer_id, tracking_url, target_country, inbound_params, to_timestamp(started_at),
       to_timestamp(timeout_at), to_timestamp(started_at), node_id
from jsonb_to_recordset($1::jsonb) as (
    request_id uuid, offer_id uuid, tracking_url text, target_country text, inbound_params jsonb,
    started_at float8, timeout_at float8, node_id uuid)
where $2::float8 is null or to_timestamp(started_at) >= now() - make_interval(secs => $2::float8 * 86400)
on conflict (request_id) do nothing

-- name: apply_trace_queued
-- $2: days, as for apply_trace_pending. Announced, because any node may take it.
with queued as (
    insert into active_trace_requests
        (request_id, offer_id, tracking_url, target_country, inbound_params, priority, started_at, created_at,
         timeout_at, identity)
    select request_id, offer_id, tracking_url, target_country, inbound_params, priority, to_timestamp(queued_at),
           to_timestamp(queued_at), to_timestamp(timeout_at), identity
    from jsonb_to_recordset($1::jsonb) as (
        request_id uuid, offer_id uuid, tracking_url text, target_country text, inbound_params jsonb,
        priority smallint, queued_at float8, timeout_at float8, identity jsonb)
    where $2::float8 is null or to_timestamp(queued_at) >= now() - make_interval(secs => $2::float8 * 86400)
    on conflict (request_id) do nothing
    returning 1)
select pg_notify('tracepool_traces', '') from queued

-- name: apply_trace_processing
-- $1: an array of entries in order; the last one of each trace is applied. An entry that was refused once may come
-- after the trace has ended.
update active_trace_requests t
set status = case when t.completed_at is null then 'processing' else t.status end, ip_assigned = e.ip_assigned, ip_locked_at = to_timestamp(e.ip_locked_at),
    wait_time_ms = e.wait_time_ms, provider = e.provider, ip_unused_s = e.ip_unused_s, ip_choices = e.ip_choices
from (
    select distinct on (request_id) *
    from rows from (jsonb_to_recordset($1::jsonb) as (
        request_id uuid, ip_assigned text, ip_locked_at float8, wait_time_ms int, provider text, ip_unused_s float8,
        ip_choices int)) with ordinality as r(
        request_id, ip_assigned, ip_locked_at, wait_time_ms, provider, ip_unused_s, ip_choices, place)
    order by request_id, place desc
) e
where t.request_id = e.request_id

-- name: apply_trace_finished
-- Traffic is added by day (UTC), provider and offer, unless the trace's row has this very end already: an entry may come
-- twice, after a restored database or from a copied journal. Entries of earlier versions lack some fields, and their
-- traffic has the IP, whose row it is added to.
with e as materialized (
    select * from jsonb_to_recordset($1::jsonb) as e (
        request_id uuid, status text, completed_at float8, final_url text, extracted_params jsonb, redirect_chain jsonb,
        error_message text, trace_time_ms int, total_time_ms int, retry_count int, bytes_received bigint,
        bytes_sent bigint, verdict text, offer_id uuid, offer_name text, cost float8, traffic jsonb,
        ips_tried text[], exit_ip text, reason text)
), moved as materialized (
    select e.request_id, e.offer_id, e.offer_name, (to_timestamp(e.completed_at) at time zone 'utc')::date as day, t.*
    from e, jsonb_to_recordset(e.traffic) as t (
        ip_id uuid, provider text, bytes_received bigint, bytes_sent bigint, cost float8)
    where not exists (select from active_trace_requests a
                      where a.request_id = e.request_id and a.completed_at = to_timestamp(e.completed_at))
), by_ip as (
    update ip_rotation_pool p
    set bytes_received = p.bytes_received + m.bytes_received, bytes_sent = p.bytes_sent + m.bytes_sent
    from (select ip_id, sum(bytes_received)::bigint as bytes_received, sum(bytes_sent)::bigint as bytes_sent
          from moved where ip_id is not null group by ip_id) m
    where p.id = m.ip_id
), by_day as (
    insert into traffic as t (day, provider, offer_id, offer_name, traces, bytes_received, bytes_sent, cost)
    select day, provider, offer_id, max(offer_name), count(distinct request_id), sum(bytes_received), sum(bytes_sent),
           sum(cost)
    from moved group by day, provider, offer_id
    on conflict (day, provider, (coalesce(offer_id, '00000000-0000-0000-0000-000000000000'))) do update
    set offer_name = excluded.offer_name, traces = t.traces + excluded.traces,
        bytes_received = t.bytes_received + excluded.bytes_received, bytes_sent = t.bytes_sent + excluded.bytes_sent,
        cost = t.cost + excluded.cost
)
update active_trace_requests t
set status = e.status, completed_at = to_timestamp(e.completed_at), final_url = e.final_url,
    extracted_params = e.extracted_params, redirect_chain = e.redirect_chain, error_message = e.error_message,
    trace_time_ms = e.trace_time_ms, total_time_ms = e.total_time_ms, retry_count = e.retry_count,
    bytes_received = e.bytes_received, bytes_sent = coalesce(e.bytes_sent, 0), cost = e.cost,
    ips_tried = coalesce(e.ips_tried, '{}'), exit_ip = e.exit_ip, verdict = e.verdict, reason = e.reason,
    identity = null
from e
where t.request_id = e.request_id

-- name: apply_ip_traffic
update ip_rotation_pool p
set bytes_received = p.bytes_received + e.bytes_received, bytes_sent = p.bytes_sent + e.bytes_sent
from (select ip_id, sum(bytes_received)::bigint as bytes_received, sum(bytes_sent)::bigint as bytes_sent
      from jsonb_to_recordset($1::jsonb) as (ip_id uuid, bytes_received bigint, bytes_sent bigint) group by ip_id) e
where p.id = e.ip_id

-- name: traffic_today
-- By provider; the day is in UTC.
select provider, sum(traces)::bigint as traces, sum(bytes_received)::bigint as bytes_received,
       sum(bytes_sent)::bigint as bytes_sent, sum(cost) as cost
from traffic where day = (now() at time zone 'utc')::date group by provider order by provider

-- name: counts_by_country
-- The IPs in each state. Rows of one country may differ in its spelling.
select country, count(*) as total,
       count(*) filter (where status = 'available' and is_healthy) as available,
       count(*) filter (where status = 'locked') as locked,
       count(*) filter (where status = 'cooldown') as cooldown,
       count(*) filter (where status = 'failed' or not is_healthy) as failed, 0 as waiting
from ip_rotation_pool where set_aside is null group by country

-- name: active_traces
select count(*) from active_trace_requests where status = 'processing' or status = 'pending' and priority = 0

-- name: last_minute
-- The clicks of the last minute, without the reasons of their fallbacks, and the hits that are no clicks of their own.
select count(*) filter (where kind = 'click' and outcome <> 'background') as clicks,
       count(*) filter (where kind = 'click' and outcome = 'resolved') as resolved,
       count(*) filter (where kind = 'click' and outcome = 'background') as background,
       percentile_cont(0.5) within group (order by wait_ms)
           filter (where kind = 'click' and outcome <> 'background') as wait_p50_ms,
       percentile_cont(0.95) within group (order by wait_ms)
           filter (where kind = 'click' and outcome <> 'background') as wait_p95_ms,
       count(*) filter (where kind = 'repeat') as repeats, count(*) filter (where kind = 'preview') as previews
from hits where created_at > now() - interval '1 minute'

-- name: last_minute_fallbacks
select coalesce(reason, 'unknown') as reason, count(*) as count
from hits where created_at > now() - interval '1 minute' and outcome = 'fallback' and kind = 'click'
group by 1 order by 1

-- name: last_minute_offers
-- $1: the most rows. The offers with the most fallbacks.
select h.offer_name as offer, coalesce(lower(btrim(coalesce(h.country, o.target_country))), '') as country, count(*) as fallbacks
from hits h left join offers o on o.id = h.offer_id
where h.created_at > now() - interval '1 minute' and h.outcome = 'fallback' and h.kind = 'click'
group by 1, 2 order by 3 desc, 1 limit $1

-- name: apply_hit
-- $2: days, null for no limit. Hits that are older are not inserted: they would be removed at once.
insert into hits
    (request_id, offer_id, offer_name, outcome, reason, location, visitor_address, user_agent, referrer, wait_ms,
     created_at, kind, click_id, country)
select request_id, offer_id, offer_name, outcome, reason, location, visitor_address, user_agent, referrer, wait_ms,
       to_timestamp(answered_at), coalesce(kind, 'click'), click_id, country
from jsonb_to_recordset($1::jsonb) as (
    request_id uuid, offer_id uuid, offer_name text, outcome text, reason text, location text, visitor_address text,
    user_agent text, referrer text, wait_ms int, answered_at float8, kind text, click_id text,
    country text)
where $2::float8 is null or to_timestamp(answered_at) >= now() - make_interval(secs => $2::float8 * 86400)
on conflict (request_id) do nothing

-- name: requests_of_click_id
-- $1: a click id. The newest 20 requests with it; the click before its repeats.
select request_id, kind from hits where click_id = left($1, 512) order by kind <> 'click', created_at desc limit 20

-- name: count_old
-- $1: an array of entries, $2: days. How many are older: hits by answered_at, traces by started_at or queued_at.
select count(*) from jsonb_to_recordset($1::jsonb) as (answered_at float8, started_at float8, queued_at float8)
where to_timestamp(coalesce(answered_at, started_at, queued_at)) < now() - make_interval(secs => $2::float8 * 86400)

-- name: blockers
-- The sessions that hold the locks which sessions such as this one wait for; pid 0: a prepared transaction.
select distinct by_pid as pid, b.usename, b.application_name, b.state, left(b.query, 2000) as query,
       to_char(b.xact_start at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since,
       b.wait_event_type is not distinct from 'Lock' as waits
from pg_stat_activity w cross join unnest(pg_blocking_pids(w.pid)) by_pid left join pg_stat_activity b on b.pid = by_pid
where w.wait_event_type = 'Lock' and w.datname = current_database() and w.usename = current_user
      and w.application_name = current_setting('application_name')
order by waits, since limit 10

-- name: lock_migrations
-- $1, $2: the lock's key. Until the transaction ends, no other tracepool migrates this database.
select pg_advisory_xact_lock($1, $2)

-- name: migration_progress
-- The indexes that are being built. Their own names are not visible before the transaction ends.
select relid::regclass::text as of_table, phase,
       round(100.0 * case when blocks_total > 0 then blocks_done::numeric / blocks_total
                          when tuples_total > 0 then tuples_done::numeric / tuples_total end)::int as percent
from pg_stat_progress_create_index where datname = current_database()

-- name: indexes_being_built
-- Those of indexes.sql, by CREATE INDEX CONCURRENTLY.
select c.relname::text as name, p.phase,
       round(100.0 * case when p.blocks_total > 0 then p.blocks_done::numeric / p.blocks_total
                          when p.tuples_total > 0 then p.tuples_done::numeric / p.tuples_total end)::int as percent
from pg_stat_progress_create_index p join pg_class c on c.oid = p.index_relid
where p.datname = current_database()

-- name: index_states
-- $1: names, $2: the table of each. An index that is not valid is being built, or its build was killed.
select given.name, i.indexrelid is not null as exists, coalesce(i.indisvalid, false) as is_valid,
       exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid) as is_being_built,
       coalesce(pg_has_role(t.relowner, 'USAGE'), false) as is_owned
from unnest($1::text[], $2::text[]) given(name, of_table)
left join pg_index i on i.indexrelid = to_regclass(quote_ident(given.name))
left join pg_class t on t.oid = to_regclass(quote_ident(given.of_table))

-- name: clock
select extract(epoch from clock_timestamp())::float8 as now_s

-- name: claim_round
-- $1 name, $2 seconds of an interval, $3 node. The first node that inserts the row of the present interval has its round.
-- $4: as has the node that inserted the row before. Rows of earlier hours are removed, and those that are ahead because
-- PostgreSQL's clock was set back.
with clock as materialized (
    select t.now_s, to_timestamp(floor(t.now_s / $2::float8) * $2::float8) as minute
    from (select extract(epoch from clock_timestamp())::float8 as now_s) t
), removed as (
    delete from rounds r using clock c
    where r.name = $1 and (r.minute < c.minute - interval '2 hours' or r.minute > c.minute + interval '5 minutes')
), claimed as (
    insert into rounds as r (name, minute, node_id) select $1, minute, $3 from clock
    on conflict (name, minute) do update set at = now() where r.node_id = $3 and $4::boolean
    returning 1
)
select now_s, exists (select from claimed) as is_mine from clock

-- name: time_out_traces
-- $1: this node, $2: whether for all nodes, $3: the most rows. Traces past timeout_at that have no end: this node's own,
-- of which an earlier run may have left some, and those of nodes that have stopped. Another node that is slow or cut off
-- may still finish its traces. SKIP LOCKED: a row that is locked may be getting its end, which a timeout must not
-- replace.
update active_trace_requests
set status = 'timeout', completed_at = now(),
    error_message = coalesce(error_message, 'its daemon stopped before the trace ended')
where request_id in (
    select request_id from active_trace_requests t
    where status in ('pending', 'processing') and timeout_at < now() - interval '2 seconds' and t.priority = 0
          and (t.node_id = $1 or $2 and (t.node_id is null or t.node_id not in
               (select n.node_id from nodes n where n.state in ('active', 'removed'))))
    limit $3 for update of t skip locked)
returning request_id

-- name: unhealthy_ips
select ip_address, ip_port, country, provider, consecutive_failures, failure_count, success_count,
       extract(epoch from last_health_check)::float8 as last_health_check
from ip_rotation_pool where not is_healthy and set_aside is null order by country, ip_address, ip_port limit $1

-- name: expire_ips
-- Only while the daemon of node $2 does not run: its IPs, and those of nodes that have stopped. $1: cooldown in seconds,
-- from the end of the lock.
with ended as (
    update ip_rotation_pool
    set status = case
            when not is_healthy then 'failed'
            when status = 'locked' and locked_until + make_interval(secs => $1::float8) > now() then 'cooldown'
            else 'available' end,
        locked_until = case
            when is_healthy and status = 'locked' and locked_until + make_interval(secs => $1::float8) > now()
            then locked_until + make_interval(secs => $1::float8) end,
        locked_by_request = null
    where status in ('locked', 'cooldown') and locked_until < now()
          and (node_id is null or node_id = $2 or node_id not in (
              select n.node_id from nodes n
              where n.state in ('active', 'removed')
                    and n.trusted_until + make_interval(secs => n.quiet_s) > clock_timestamp()))
    returning (select old.status from ip_rotation_pool old where old.id = ip_rotation_pool.id) as was)
select count(*) filter (where was = 'locked') as locks, count(*) filter (where was = 'cooldown') as cooldowns from ended

-- name: record_statistics
-- $1: requests queued in the daemon, $2: the keys of countries by their other names, $3: the tables whose sizes are
-- recorded. Utilisation is (locked + cooldown) / healthy; an IP that is marked unhealthy while it is leased counts as
-- locked until the lease ends.
insert into ip_pool_statistics (
    total_ips, available_ips, locked_ips, cooldown_ips, failed_ips, pool_utilization_percent, country_breakdown,
    active_requests, completed_requests_1h, failed_requests_1h, avg_wait_time_ms, avg_trace_time_ms, bytes_per_trace_1h,
    bytes_1h, cost_1h, requests_queued, table_bytes)
select p.*, t.*, $1,
       (select jsonb_object_agg(name, pg_total_relation_size(to_regclass(quote_ident(name)))) from unnest($3::text[]) name)
from (
    select coalesce(sum(total), 0)::int, coalesce(sum(available), 0)::int, coalesce(sum(locked), 0)::int,
           coalesce(sum(cooldown), 0)::int, coalesce(sum(failed), 0)::int,
           coalesce(round(100.0 * sum(locked + cooldown) / nullif(sum(healthy), 0), 2), 0)::float8,
           coalesce(jsonb_object_agg(country, jsonb_build_object(
               'total', total, 'available', available, 'locked', locked, 'cooldown', cooldown, 'failed', failed,
               'utilization_percent', coalesce(round(100.0 * (locked + cooldown) / nullif(healthy, 0), 2), 0))), '{}')
    from (
        select coalesce($2::jsonb ->> lower(trim(country)), lower(trim(country))) as country,
               count(*) as total,
               count(*) filter (where status = 'available' and is_healthy) as available,
               count(*) filter (where status = 'locked') as locked,
               count(*) filter (where status = 'cooldown') as cooldown,
               count(*) filter (where status = 'failed' or status = 'available' and not is_healthy) as failed,
               count(*) filter (where status in ('locked', 'cooldown') or status = 'available' and is_healthy) as healthy
        from ip_rotation_pool where set_aside is null group by 1) c) p,
    (
    select count(*) filter (where status = 'processing' or status = 'pending' and priority = 0)::int,
           count(*) filter (where status = 'completed' and completed_at > now() - interval '1 hour')::int,
           count(*) filter (where status in ('failed', 'timeout') and completed_at > now() - interval '1 hour')::int,
           avg(wait_time_ms) filter (where completed_at > now() - interval '1 hour')::float8,
           avg(trace_time_ms) filter (where completed_at > now() - interval '1 hour')::float8,
           avg(bytes_received) filter (where completed_at > now() - interval '1 hour'
                                       and trace_time_ms is not null)::float8,
           coalesce(sum(bytes_received + bytes_sent) filter (where completed_at > now() - interval '1 hour'), 0)::bigint,
           coalesce(sum(cost) filter (where completed_at > now() - interval '1 hour'), 0)
    from active_trace_requests where created_at > now() - interval '2 hours') t
returning total_ips, available_ips, locked_ips, cooldown_ips, failed_ips, pool_utilization_percent, active_requests,
          completed_requests_1h, failed_requests_1h, avg_wait_time_ms, avg_trace_time_ms, requests_queued,
          country_breakdown, bytes_1h, cost_1h

-- name: record_clicks
-- The finished minutes since the last recorded one, at most a day, and ten minutes again: hits may come late.
with range as (
    select greatest(coalesce((select max(minute) from click_minutes) - interval '10 minutes', '-infinity'),
                    date_trunc('minute', now()) - interval '1 day') as since,
           date_trunc('minute', now()) as until),
answered as (
    select date_trunc('minute', created_at) as minute, outcome, reason, wait_ms
    from hits, range where kind = 'click' and created_at >= since and created_at < until),
reasons as (
    select minute, jsonb_object_agg(reason, n) as fallbacks
    from (select minute, coalesce(reason, 'other') as reason, count(*) as n from answered
          where outcome = 'fallback' group by 1, 2) r group by 1),
traced as (
    select date_trunc('minute', completed_at) as minute,
           percentile_cont(array[0.5, 0.95, 0.99]) within group (order by trace_time_ms) as ms
    from active_trace_requests, range
    where created_at >= since - interval '2 minutes' and completed_at >= since and completed_at < until
          and trace_time_ms is not null group by 1),
clicks as (
    select minute, count(*) filter (where outcome <> 'background') as clicks,
           count(*) filter (where outcome = 'resolved') as resolved,
           count(*) filter (where outcome = 'background') as background,
           percentile_cont(array[0.5, 0.95, 0.99]) within group (order by wait_ms)
               filter (where outcome <> 'background') as ms
    from answered group by 1)
insert into click_minutes
select minute, coalesce(c.clicks, 0), coalesce(c.resolved, 0), coalesce(r.fallbacks, '{}'),
       c.ms[1], c.ms[2], c.ms[3], t.ms[1], t.ms[2], t.ms[3], coalesce(c.background, 0)
from clicks c full join traced t using (minute) left join reasons r using (minute)
on conflict (minute) do update set
    clicks = excluded.clicks, resolved = excluded.resolved, fallbacks = excluded.fallbacks,
    background = excluded.background,
    wait_p50_ms = excluded.wait_p50_ms, wait_p95_ms = excluded.wait_p95_ms, wait_p99_ms = excluded.wait_p99_ms,
    trace_p50_ms = excluded.trace_p50_ms, trace_p95_ms = excluded.trace_p95_ms, trace_p99_ms = excluded.trace_p99_ms
where click_minutes.* is distinct from excluded.*

-- name: click_history
-- The recorded minutes from $1 to before $2 (seconds since 1970), in buckets of $3 seconds. Percentiles of a bucket are
-- the means of its minutes', those of waits weighted by clicks. `began_s`,
-- `recorded_s`: when the first recorded minute of all began, and the last one ended.
with minutes as (
    select floor(extract(epoch from minute) / $3::float8) * $3::float8 as at, m.*
    from click_minutes m where minute >= to_timestamp($1::float8) and minute < to_timestamp($2::float8)),
reasons as (
    select at, jsonb_object_agg(reason, n) as fallbacks
    from (select at, e.key as reason, sum(e.value::bigint) as n
          from minutes, jsonb_each_text(fallbacks) e group by 1, 2) r group by 1),
buckets as (
    select at, sum(resolved)::bigint as resolved, sum(background)::bigint as background,
           sum(wait_p50_ms * clicks) / nullif(sum(clicks), 0) as wait_p50,
           sum(wait_p95_ms * clicks) / nullif(sum(clicks), 0) as wait_p95,
           sum(wait_p99_ms * clicks) / nullif(sum(clicks), 0) as wait_p99,
           avg(trace_p50_ms) as trace_p50, avg(trace_p95_ms) as trace_p95, avg(trace_p99_ms) as trace_p99
    from minutes group by 1)
select at::float8, resolved, background, fallbacks, wait_p50::float8, wait_p95::float8, wait_p99::float8, trace_p50::float8,
       trace_p95::float8, trace_p99::float8,
       (select extract(epoch from min(minute)) from click_minutes)::float8 as began_s,
       (select extract(epoch from max(minute)) + 60 from click_minutes)::float8 as recorded_s
from buckets left join reasons using (at) order by at

-- name: add_batch_traces
-- $1 country, $2 priority, $3 starts_now, $4 seconds until they are given up, or null. The rows of the temporary table
-- `asked`, in their order.
insert into active_trace_requests
    (request_id, tracking_url, target_country, priority, started_at, created_at, starts_now, timeout_at)
select request_id, url, $1, $2, now(), now() + place * interval '1 microsecond', $3,
       now() + make_interval(secs => $4::float8)
from asked order by place

-- name: batch_countries
-- The countries of pending batch traces that node $1 may take, and the first priority of each. ahead: some have
-- starts_now.
select target_country, min(priority) as priority, bool_or(starts_now) as ahead from active_trace_requests
where priority > 0 and status = 'pending' and (node_id is null or node_id = $1)
group by 1

-- name: batch_queue
-- The batch traces of all nodes that have not ended, by country. Those of background clicks are counted apart.
select target_country as country,
       count(*) filter (where priority > 1 and status = 'pending' and node_id is null) as waiting,
       count(*) filter (where priority > 1 and (status = 'processing' or node_id is not null)) as running,
       count(*) filter (where priority > 1 and status = 'pending' and node_id is null and starts_now) as ahead,
       extract(epoch from min(created_at) filter (where priority > 1 and status = 'pending' and node_id is null)
               )::float8 as since_s,
       count(*) filter (where priority = 1 and status = 'pending') as background,
       extract(epoch from min(created_at) filter (where priority = 1 and status = 'pending'))::float8
           as background_since_s
from active_trace_requests where priority > 0 and status in ('pending', 'processing')
group by target_country order by target_country

-- name: next_batch_traces
-- $1 country, $2 node, $3 ids of its running traces, $4 the first and $5 the last priority, $6 whether without starts_now,
-- $7 the most rows. The rows become this node's: no other node traces them.
with claimed as (
    update active_trace_requests set node_id = $2
    where request_id in (
        select request_id from active_trace_requests
        where priority > 0 and status = 'pending' and target_country = $1 and (node_id is null or node_id = $2)
              and request_id <> all($3::uuid[]) and priority between $4 and $5 and not ($6::boolean and starts_now)
              and (timeout_at is null or timeout_at > now())
        order by priority, created_at limit $7 for update skip locked)
    returning request_id, tracking_url, priority, created_at, offer_id, identity)
select request_id, tracking_url, priority, offer_id, identity::text from claimed order by priority, created_at

-- name: next_traces_ahead
-- $1 country, $2 node, $3 ids of its running traces, $4 the most rows. As next_batch_traces, of those with starts_now.
with claimed as (
    update active_trace_requests set node_id = $2
    where request_id in (
        select request_id from active_trace_requests
        where priority > 1 and starts_now and status = 'pending' and target_country = $1
              and (node_id is null or node_id = $2)
              and request_id <> all($3::uuid[]) and (timeout_at is null or timeout_at > now())
        order by priority, created_at limit $4 for update skip locked)
    returning request_id, tracking_url, priority, created_at, offer_id, identity)
select request_id, tracking_url, priority, offer_id, identity::text from claimed order by priority, created_at

-- name: end_late_batch_traces
-- $1 the error of those that nobody cancelled, $2 the most rows. Batch traces that no node has, and whose time has passed.
update active_trace_requests
set status = case when reason = 'cancelled' then 'failed' else 'timeout' end, completed_at = now(),
    reason = coalesce(reason, 'out_of_time'), error_message = coalesce(error_message, $1)
where request_id in (
    select request_id from active_trace_requests
    where timeout_at <= now() and status = 'pending' and priority > 1 and node_id is null
    limit $2 for update skip locked)
returning request_id

-- name: late_batch_traces
-- $1 ids. Those whose time has passed.
select request_id, reason, error_message from active_trace_requests
where request_id = any($1::uuid[]) and timeout_at <= now() and status in ('pending', 'processing') and priority > 1

-- name: cancel_batch_traces
-- $1 ids, or null, $2 names of a country, or null, $3 why. Those that no node has end; the time of the others passes.
-- Traces of clicks, background ones too, go on.
update active_trace_requests
set status = case when status = 'pending' and node_id is null then 'failed' else status end,
    completed_at = case when status = 'pending' and node_id is null then now() end,
    timeout_at = now(), reason = 'cancelled', error_message = $3
where priority > 1 and status in ('pending', 'processing') and reason is distinct from 'cancelled'
      and ($1::uuid[] is null or request_id = any($1)) and ($2::text[] is null or lower(btrim(target_country)) = any($2))
returning request_id

-- name: release_batch_traces
-- $1 node, $2 ids: traces that got no IP. Any node may take them.
update active_trace_requests set node_id = null
where request_id = any($2::uuid[]) and status = 'pending' and node_id = $1 returning request_id

-- name: restart_batch_traces
-- Claimed traces that did not end start again: those of an earlier run of node $1, if it is given, those of nodes that
-- have stopped, and those of the version before nodes. Those of forgotten people are given up: their URLs are gone.
update active_trace_requests t
set (status, completed_at, error_message) = (
        select case when f.is_gone then 'failed' else 'pending' end, case when f.is_gone then now() end,
               case when f.is_gone then 'its visitor was forgotten before' else t.error_message end
        from (select exists (select from forgotten_clicks c where c.request_id = t.request_id) as is_gone) f),
    node_id = null, ip_assigned = null, ip_locked_at = null, wait_time_ms = null
where priority > 0
      and (status = 'processing' or status = 'pending' and node_id is not null)
      and (node_id is null or node_id = $1 or node_id not in
           (select n.node_id from nodes n where n.state in ('active', 'removed')))
returning request_id

-- name: ips_of_country
-- $1: the country's names.
select count(*) as total, count(*) filter (where is_healthy and status <> 'failed') as healthy
from ip_rotation_pool where set_aside is null and lower(btrim(country)) = any($1::text[])

-- name: end_queued_traces
-- $1: the most rows. Traces that no node has begun by timeout_at, as those of background clicks have it.
update active_trace_requests
set status = 'failed', completed_at = now(), reason = 'no_ip', identity = null,
    error_message = format('it waited for %s min without a free IP of %s: see trace.background_wait_s and'
                           ' pool.background_below_percent',
                           round(extract(epoch from now() - created_at) / 60), target_country)
where request_id in (
    select request_id from active_trace_requests
    where status = 'pending' and priority = 1 and node_id is null and timeout_at < now()
    limit $1 for update skip locked)
returning request_id

-- name: ended_traces
select request_id, tracking_url, status, ip_assigned, final_url, error_message, trace_time_ms, bytes_received,
       jsonb_array_length(coalesce(redirect_chain, '[]')) as hops
from active_trace_requests where request_id = any($1::uuid[]) and status not in ('pending', 'processing')

-- name: past_traces
-- $1: days, $2: how many of the newest traces, $3: an offer's name, null for all. An offer without traces has one row.
-- URLs are serialised by WHATWG's rules: between the second and the third slash are the host and the port.
-- redirect_chain's last hop is the landing page if its kind is final or script_unresolved.
select o.offer_name, o.stop_at, t.landing, t.places, t.fetched, t.same_page, count(t.request_id) as traces,
       avg(t.ms)::float8 as ms, avg(t.bytes)::float8 as bytes
from offers o left join (
    select offer_id, request_id, split_part(final_url, '/', 1) || '//' || split_part(final_url, '/', 3) as landing,
           (select string_agg(split_part(hop.value ->> 'url', '/', 3), '/' order by hop.place)
            from jsonb_array_elements(redirect_chain) with ordinality as hop(value, place)) as places,
           coalesce(last ->> 'kind' in ('final', 'script_unresolved'), false) as fetched,
           coalesce(substr(last ->> 'url', strpos(last ->> 'url', '//') + 2) in (page, 'www.' || page)
                    or 'www.' || substr(last ->> 'url', strpos(last ->> 'url', '//') + 2) = page, false) as same_page,
           (last ->> 'ms')::float8 as ms,
           (last ->> 'bytes_received')::float8 + (last ->> 'bytes_sent')::float8 as bytes
    from (select offer_id, request_id, final_url, redirect_chain, redirect_chain -> -1 as last,
                 substr(redirect_chain -> -2 ->> 'url', strpos(redirect_chain -> -2 ->> 'url', '//') + 2) as page
          from (select offer_id, request_id, final_url,
                       case when jsonb_typeof(redirect_chain) = 'array' then redirect_chain else '[]' end as redirect_chain
                from active_trace_requests
                where status = 'completed' and created_at > now() - make_interval(secs => $1::float8 * 86400)
                order by created_at desc limit $2) newest) hops) t on t.offer_id = o.id
where $3::text is null or o.offer_name = $3
group by o.offer_name, o.stop_at, t.landing, t.places, t.fetched, t.same_page
order by o.offer_name

-- name: add_stop_at
-- $1: the offer's name, $2: hosts.
update offers
set stop_at = coalesce(stop_at, '{}')
              || array(select host from unnest($2::text[]) host where host <> all (coalesce(stop_at, '{}'))),
    updated_at = now()
where offer_name = $1

-- name: load_nodes
select node_id, name, epoch, state, extract(epoch from trusted_until)::float8 as trusted_until_s, quiet_s, version,
       extract(epoch from started_at)::float8 as started_s, extract(epoch from clock_timestamp())::float8 as now_s,
       protocol, claim, beat, draining, trust_s, figures::text,
       extract(epoch from pg_postmaster_start_time())::float8 as server_s
from nodes order by started_at

-- name: take_over
-- $1: this node, beside which no other can run.
update nodes set state = 'lost', claim = null, epoch = epoch + 1 where node_id <> $1 and state <> 'lost'

-- name: find_run
-- $1 node. What its run changes each second.
select epoch, beat, claim, state from nodes where node_id = $1

-- name: take_row
-- $1 node, with the $2 epoch, $3 beat, $4 claim and $5 state of find_run; $6: a new claim. For a run that joins then. No
-- row: another run with the same node id has changed the row.
update nodes set epoch = epoch + 1, claim = $6, state = case when state = 'left' then 'active' else state end
where node_id = $1 and epoch = $2 and beat = $3 and claim is not distinct from $4 and state = $5
returning epoch

-- name: join_node
-- $1 node, $2 name, $3 epoch, $4 claim, $5 trust in seconds, $6 quiet, $7 version, $8 protocol, $9 figures. A longer
-- quiet_s of an earlier run stays until it has passed.
insert into nodes as n
    (node_id, name, epoch, claim, state, trusted_until, trust_s, quiet_s, version, protocol, figures, beat)
values ($1, $2, $3, $4, 'active', clock_timestamp() + make_interval(secs => $5::float8), $5, $6, $7, $8, $9::jsonb, 1)
on conflict (node_id) do update
set name = $2, epoch = greatest(n.epoch + 1, $3), claim = $4, state = 'active', version = $7, started_at = now(),
    trusted_until = clock_timestamp() + make_interval(secs => $5::float8), trust_s = $5, protocol = $8,
    figures = $9::jsonb, beat = n.beat + 1,
    quiet_s = case when n.trusted_until + make_interval(secs => n.quiet_s) > clock_timestamp()
                   then greatest(n.quiet_s, $6) else $6 end
returning epoch, beat, extract(epoch from pg_postmaster_start_time())::float8 as server_s

-- name: renew_node
-- $1 node, $2 claim, $3 trust and $4 quiet in seconds, $5 figures, $6: the other nodes renew soon too. The rows of all
-- nodes as they were before, without $7 the own one only; `renewed` is its new beat. No `renewed`: the claim is lost.
with mine as (
    update nodes
    set trusted_until = clock_timestamp() + make_interval(secs => $3::float8), quiet_s = greatest(quiet_s, $4),
        figures = $5::jsonb, beat = beat + 1
    where node_id = $1 and claim = $2 and state = 'active' returning node_id, beat, trusted_until)
select n.node_id, n.name, n.epoch, n.state, n.quiet_s, n.version, n.protocol, n.beat, n.draining, n.trust_s,
       n.figures::text,
       extract(epoch from coalesce(mine.trusted_until, n.trusted_until))::float8 as trusted_until_s,
       extract(epoch from n.started_at)::float8 as started_s, extract(epoch from clock_timestamp())::float8 as now_s,
       extract(epoch from pg_postmaster_start_time())::float8 as server_s, mine.beat as renewed,
       (select pg_notify('tracepool_nodes', '') where $6::boolean)::text as hurried
from nodes n left join mine on mine.node_id = n.node_id
where $7::boolean or n.node_id = $1

-- name: mark_lost
-- $1 node, with the $2 beat, $3 epoch and $4 state with which it was found silent.
update nodes set state = 'lost', claim = null, epoch = epoch + 1
where node_id = $1 and beat = $2 and epoch = $3 and state = $4 returning node_id

-- name: free_ips
-- $1: the most rows. Frees IPs of lost nodes. The lock on the node's row holds up its next join until the rows are
-- free, so that it does not read them as its own. A daemon of protocol 0 had all IPs, and left the rows with their rests.
with lost as materialized (select node_id, protocol from nodes where state = 'lost' for share), freed as (
    update ip_rotation_pool p
    set node_id = null, edit_no = nextval('ip_edit_no'), lease_no = p.lease_no + 1, locked_by_request = null,
        updated_at = now(),
        status = case when lost.protocol = 0 then p.status when p.is_healthy then 'available' else 'failed' end,
        locked_until = case when lost.protocol = 0 then p.locked_until end
    from lost
    where p.node_id = lost.node_id
          and p.id = any(array(select i.id from ip_rotation_pool i where i.node_id in (select node_id from lost) limit $1
                           for update skip locked))
    returning p.edit_no)
select count(*) as ips, min(edit_no) as first, max(edit_no) as last,
       pg_notify('tracepool_ips', min(edit_no) || ' ' || max(edit_no))::text as announced
from freed having count(*) > 0

-- name: forget_departed_of_lost
-- What a lost node used has rested. The lock on the node's row is as in free_ips.
delete from departed_endpoints where node_id in (select node_id from nodes where state = 'lost' for share)

-- name: load_departed
-- $1: this node, $2: the most rows, $3: after this number. Endpoints that left its rows by an operator's statement.
select no, id, ip_address, ip_port, username from departed_endpoints where node_id = $1 and no > $3 order by no limit $2

-- name: forget_departed
-- $1: numbers of entries whose endpoints are neither in use nor rest.
delete from departed_endpoints where no = any($1::bigint[])

-- name: enter_unknown_owners
-- $1 trust and $2 quiet in seconds. An owner whose row was deleted may still run: it gets a row, and is lost later.
insert into nodes (node_id, name, epoch, state, trusted_until, quiet_s, version, protocol)
select owner, 'deleted ' || left(owner::text, 8), 0, 'removed', clock_timestamp() + make_interval(secs => $1::float8),
       $2, '', 1
from (select node_id as owner from ip_rotation_pool union select node_id from departed_endpoints) owners
where owner is not null and not exists (select from nodes where node_id = owner)
on conflict (node_id) do nothing
returning node_id, name

-- name: leave_node
-- $1 node, $2 claim, $3 quiet in seconds. Only after all entries of the node are applied: none is left to ship.
update nodes set state = 'left', claim = null, trusted_until = clock_timestamp(), quiet_s = $3,
                 figures = figures || '{"backlog": 0}'
where node_id = $1 and claim = $2

-- name: remove_node
-- $1 node. Its trust ends now; quiet_s still applies.
update nodes
set state = 'removed', claim = null, epoch = epoch + 1, trusted_until = least(trusted_until, clock_timestamp())
where node_id = $1 and state = 'active' returning node_id

-- name: set_draining
-- $1 node, $2: whether it gives its IPs away and leases none.
update nodes set draining = $2, draining_at = case when $2 then coalesce(draining_at, now()) end
where node_id = $1 returning node_id

-- name: connection_limits
-- How many connections the server has for others than superusers.
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       - coalesce(current_setting('reserved_connections', true)::int, 0) as most

-- name: hold_claim
-- $1 node, $2 claim. Until the transaction ends, no other node can take over.
select from nodes where node_id = $1 and claim = $2 and state = 'active' for share

-- name: keep_nodes_out
-- $1, $2: the lock's key. Until the transaction ends, no node can join.
select pg_advisory_xact_lock($1, $2)

-- name: join_beside
-- $1, $2: the key of the same lock. Nodes join beside each other.
select pg_advisory_xact_lock_shared($1, $2)

-- name: forget_requests
-- The people whose entries may still come from a node that was away.
select kind, digest, extract(epoch from at)::float8 as at_s from forget_requests

-- name: add_forget_request
-- $1 kind, $2 digest.
insert into forget_requests (kind, digest) values ($1, $2)

-- name: remove_old_forget_requests
-- $1: days. Later entries of these people make no rows any more.
with old as (delete from forget_requests where at < now() - make_interval(secs => $1::float8 * 86400))
delete from forgotten_clicks where at < now() - make_interval(secs => $1::float8 * 86400)

-- name: forgotten_among
select request_id from forgotten_clicks where request_id = any($1::uuid[])

-- name: note_forgotten
insert into forgotten_clicks (request_id) select unnest($1::uuid[]) on conflict do nothing

-- name: hits_of_visitor
select request_id from hits where visitor_address = $1

-- name: hits_with_text
-- $1: a pattern. The rows that may have a click id.
select request_id, location, click_id from hits where location like $1 or click_id like $1

-- name: traces_with_text
select request_id, tracking_url, final_url, inbound_params, extracted_params, redirect_chain from active_trace_requests
where tracking_url like $1 or final_url like $1 or inbound_params::text like $1
      or extracted_params::text like $1 or redirect_chain::text like $1

-- name: hits_of_clicks
select request_id, location, visitor_address, user_agent, referrer, click_id, offer_id, offer_name
from hits where request_id = any($1::uuid[])

-- name: traces_of_clicks
select request_id, tracking_url, final_url, inbound_params, extracted_params, redirect_chain, error_message
from active_trace_requests where request_id = any($1::uuid[])

-- name: blank_hits
update hits h
set location = e.location, visitor_address = null, user_agent = null, referrer = null, click_id = null,
    offer_name = e.offer_name
from jsonb_to_recordset($1::jsonb) as e (request_id uuid, location text, offer_name text)
where h.request_id = e.request_id

-- name: blank_traces
-- A trace of the batch lane that has not begun is given up: its URL is gone.
update active_trace_requests t
set tracking_url = e.tracking_url, final_url = e.final_url, inbound_params = e.inbound_params,
    extracted_params = e.extracted_params, redirect_chain = e.redirect_chain, identity = null,
    error_message = case when t.status = 'pending' and t.priority > 0 then 'its visitor was forgotten before' end,
    completed_at = case when t.status = 'pending' and t.priority > 0 then now() else t.completed_at end,
    status = case when t.status = 'pending' and t.priority > 0 then 'failed' else t.status end
from jsonb_to_recordset($1::jsonb) as e (
    request_id uuid, tracking_url text, final_url text, inbound_params jsonb, extracted_params jsonb, redirect_chain jsonb)
where t.request_id = e.request_id

-- name: new_forget_requests
-- $1: an id.
select id, kind, digest, extract(epoch from at)::float8 as at_s from forget_requests where id > $1 order by id

-- name: forgotten_clicks
select request_id from forgotten_clicks

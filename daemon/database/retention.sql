-- The rows that only grow in number: removed when they are older than their retention, and their sizes. Named statements
-- as in queries.sql.
--
-- $1: days kept, $2: the most rows. Each removes the oldest rows, and says how many. SKIP LOCKED: an operator's lock on a
-- row holds up nothing.

-- name: remove_hits
with gone as (
    delete from hits where ctid = any (array(
        select ctid from hits where created_at < now() - make_interval(secs => $1::float8 * 86400)
        order by created_at limit $2 for update skip locked))
    returning 1)
select count(*) as rows from gone

-- name: remove_traces
-- A trace that waited long, such as a batch trace, is kept from its end on.
with gone as (
    delete from active_trace_requests where ctid = any (array(
        select ctid from active_trace_requests
        where created_at < now() - make_interval(secs => $1::float8 * 86400) and status not in ('pending', 'processing')
              and coalesce(completed_at, created_at) < now() - make_interval(secs => $1::float8 * 86400)
        order by created_at limit $2 for update skip locked))
    returning 1)
select count(*) as rows from gone

-- name: remove_statistics
with gone as (
    delete from ip_pool_statistics where ctid = any (array(
        select ctid from ip_pool_statistics where recorded_at < now() - make_interval(secs => $1::float8 * 86400)
        order by recorded_at limit $2 for update skip locked))
    returning 1)
select count(*) as rows from gone

-- name: remove_traffic
with gone as (
    delete from traffic where ctid = any (array(
        select ctid from traffic
        where day < ((now() - make_interval(secs => $1::float8 * 86400)) at time zone 'utc')::date
        order by day limit $2 for update skip locked))
    returning 1)
select count(*) as rows from gone

-- name: remove_actions
with gone as (
    delete from actions where ctid = any (array(
        select ctid from actions where at < now() - make_interval(secs => $1::float8 * 86400)
        order by at limit $2 for update skip locked))
    returning 1)
select count(*) as rows from gone

-- name: remove_click_minutes
with gone as (
    delete from click_minutes where ctid = any (array(
        select ctid from click_minutes where minute < now() - make_interval(secs => $1::float8 * 86400)
        order by minute limit $2 for update skip locked))
    returning 1)
select count(*) as rows from gone

-- name: remove_nodes
-- Nodes that have stopped, that have no IPs, and of which nothing can still run. Each renewal reads all rows of nodes.
with gone as (
    delete from nodes where node_id = any (array(
        select n.node_id from nodes n
        where n.state in ('left', 'lost', 'removed')
              and n.trusted_until + make_interval(secs => n.quiet_s)
                  < clock_timestamp() - make_interval(secs => $1::float8 * 86400)
              and n.node_id not in (select i.node_id from ip_rotation_pool i where i.node_id is not null)
              and n.node_id not in (select d.node_id from departed_endpoints d)
        limit $2 for update of n skip locked))
    returning 1)
select count(*) as rows from gone

-- name: remove_positions
-- Of nodes without a row. Until then a spool that is found again is applied once, however late.
with gone as (
    delete from journal_position where (node_id, lane) in (
        select p.node_id, p.lane from journal_position p
        where p.applied_at < now() - make_interval(secs => $1::float8 * 86400)
              and p.node_id not in (select n.node_id from nodes n)
        limit $2 for update of p skip locked)
    returning 1)
select count(*) as rows from gone

-- name: table_sizes
-- $1: names of tables. `rows` is PostgreSQL's estimate: the statistics count, or what the last VACUUM found.
select name, pg_total_relation_size(c.oid) as bytes,
       greatest(0, coalesce(nullif(s.n_live_tup, 0), c.reltuples::bigint)) as rows
from unnest($1::text[]) name join pg_class c on c.oid = to_regclass(quote_ident(name))
left join pg_stat_user_tables s on s.relid = c.oid

-- name: database_bytes
select pg_database_size(current_database()) as bytes

-- name: oldest_rows
-- By table, the age of its oldest row in seconds; null without rows.
select extract(epoch from now() - (select min(created_at) from hits))::float8 as hits,
       extract(epoch from now() - (select min(created_at) from active_trace_requests))::float8 as active_trace_requests,
       extract(epoch from now() - (select min(recorded_at) from ip_pool_statistics))::float8 as ip_pool_statistics

-- name: earlier_sizes
-- The oldest sizes by table that were recorded in the last day, and their age in seconds.
select extract(epoch from now() - recorded_at)::float8 as age_s, table_bytes
from ip_pool_statistics where recorded_at > now() - interval '1 day' and table_bytes is not null
order by recorded_at limit 1

-- name: old_rows_of_hits
-- $1: days kept. These three are counted, or estimated by EXPLAIN.
select from hits where created_at < now() - make_interval(secs => $1::float8 * 86400)

-- name: old_rows_of_active_trace_requests
select from active_trace_requests where created_at < now() - make_interval(secs => $1::float8 * 86400)

-- name: old_rows_of_ip_pool_statistics
select from ip_pool_statistics where recorded_at < now() - make_interval(secs => $1::float8 * 86400)

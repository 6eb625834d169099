-- Figures for advice and plans. Named statements as in queries.sql; each reads a limited number of rows.

-- name: samples
-- $1: seconds. Utilisation of the pools, the newest 1,000 rows.
select extract(epoch from now() - recorded_at)::float8 as age_s, pool_utilization_percent as percent,
       locked_ips + cooldown_ips as busy, total_ips - failed_ips as healthy, country_breakdown
from ip_pool_statistics where recorded_at > now() - make_interval(secs => $1::float8)
order by recorded_at desc limit 1000

-- name: peaks
-- The highest utilisation of each country's pool in the last day. Operators may have written rows of any form.
select c.key as country, extract(epoch from now() - min(recorded_at))::float8 / 3600 as hours,
       max(case when jsonb_typeof(c.value -> 'utilization_percent') = 'number'
                then (c.value ->> 'utilization_percent')::float8 end) as percent,
       max(case when jsonb_typeof(c.value -> 'locked') = 'number' and jsonb_typeof(c.value -> 'cooldown') = 'number'
                then (c.value ->> 'locked')::float8 + (c.value ->> 'cooldown')::float8 end) as busy
from ip_pool_statistics,
     jsonb_each(case when jsonb_typeof(country_breakdown) = 'object' then country_breakdown else '{}' end) c
where recorded_at > now() - interval '1 day' group by 1

-- name: demands
-- The traces of clicks in the last ten minutes: their number, the minutes since the first one, and their mean time.
select target_country as country, count(*) as requests,
       least(10, greatest(1, extract(epoch from now() - min(created_at)) / 60))::float8 as minutes,
       count(trace_time_ms) as traces, avg(trace_time_ms)::float8 as trace_ms
from active_trace_requests where priority = 0 and created_at > now() - interval '10 minutes' group by 1

-- name: slots
-- Each country's IPs by provider, and the highest number of those with names like provider-country-number.
select country, provider, count(*) as ips,
       max(substring(ip_address from '-([0-9]{1,7})$')::int)
           filter (where starts_with(ip_address, provider || '-' || country || '-')) as highest
from ip_rotation_pool group by 1, 2 order by ips desc

-- name: countries_in_use
-- Each spelling of a country: the number of IPs and the first offers that have it.
select c.country, sum(c.ips)::int as ips,
       coalesce((array_agg(distinct c.offer) filter (where c.offer is not null))[:100], '{}') as offers
from (
    select lower(btrim(country)) as country, count(*) as ips, null as offer
    from ip_rotation_pool where set_aside is null group by 1
    union all
    select lower(btrim(n.country)), 0, o.offer_name
    from offers o cross join lateral unnest(array_append(o.countries, o.target_country)) n (country)) c
group by 1 order by 2 desc, 1 limit 1000

-- name: set_aside
select count(*) from ip_rotation_pool where set_aside is not null

-- name: node_facts
-- The nodes that have not left, with the number of their IPs.
select n.node_id, n.name, n.epoch, n.state, n.draining, n.version, n.trust_s, n.quiet_s,
       n.figures::text,
       extract(epoch from n.trusted_until)::float8 as trusted_until_s,
       extract(epoch from n.started_at)::float8 as started_s,
       extract(epoch from n.draining_at)::float8 as draining_since_s,
       extract(epoch from clock_timestamp())::float8 as now_s, coalesce(i.ips, 0) as ips
from nodes n
left join (select node_id, count(*) as ips from ip_rotation_pool where set_aside is null group by 1) i using (node_id)
where n.state in ('active', 'removed') order by n.name, n.node_id limit 1000

-- name: nobodys_ips
select count(*) from ip_rotation_pool
where node_id is null and set_aside is null and greatest(created_at, updated_at) < now() - interval '1 minute'

-- name: landings
-- $1: click.deadline_s. Of the last hour's newest 20,000 completed traces: how many ended after the offer's deadline.
with landed as (
    select t.trace_time_ms / 1000.0 as trace_s, o.offer_name,
           t.trace_time_ms > 1000 * coalesce(o.deadline_s, $1::float8) as late
    from (select offer_id, trace_time_ms from active_trace_requests
          where priority = 0 and created_at > now() - interval '1 hour' and status = 'completed'
                and trace_time_ms is not null
          order by created_at desc limit 20000) t
    left join offers o on o.id = t.offer_id),
worst as (select offer_name, count(*) as late from landed where late group by 1 order by 2 desc, 1 limit 1)
select count(*) as traces, count(*) filter (where late) as late,
       coalesce(percentile_cont(0.5) within group (order by trace_s), 0)::float8 as p50_s,
       coalesce(percentile_cont(0.95) within group (order by trace_s), 0)::float8 as p95_s,
       coalesce(percentile_cont(0.99) within group (order by trace_s), 0)::float8 as p99_s,
       (select offer_name from worst) as late_offer, coalesce((select late from worst), 0) as late_of_offer
from landed

-- name: gave_up
-- Of the last hour's newest 20,000 clicks: fallbacks at the deadline.
select count(*) filter (where reason = 'deadline') as clicks
from (select reason from hits where created_at > now() - interval '1 hour' and kind = 'click'
      order by created_at desc limit 20000) h

-- name: faults_by_rest
-- $1: pool.cooldown_s. Of the last hour's newest 20,000 traces with a verdict: the IP's faults after short and long
-- rests. ip_unused_s includes the trace before the rest.
with traced as (
    select verdict = 'ip' as by_ip, ip_unused_s - avg(trace_time_ms) over () / 1000 as rested_s
    from (select verdict, ip_unused_s, trace_time_ms from active_trace_requests
          where created_at > now() - interval '1 hour' and verdict is not null
          order by created_at desc limit 20000) t)
select count(*) filter (where rested_s <= 1.5 * $1::float8) as barely,
       count(*) filter (where rested_s <= 1.5 * $1::float8 and by_ip) as barely_by_ip,
       count(*) filter (where rested_s is null or rested_s >= 3 * $1::float8) as well,
       count(*) filter (where (rested_s is null or rested_s >= 3 * $1::float8) and by_ip) as well_by_ip
from traced

-- name: spent
-- Of the last hour's newest 20,000 traces: mean bytes received, the offer and the provider with the most of them, and the
-- median of the statistics before.
with newest as materialized (
    select bytes_received, offer_id, provider from active_trace_requests
    where created_at > now() - interval '1 hour' and trace_time_ms is not null
    order by created_at desc limit 20000)
select t.traces, t.bytes, u.usual_bytes, u.usual_hours, o.offer, o.offer_bytes, p.provider
from (select count(*) as traces, avg(bytes_received)::float8 as bytes from newest) t
left join (
    select f.offer_name as offer, avg(n.bytes_received)::float8 as offer_bytes
    from newest n join offers f on f.id = n.offer_id
    group by 1 order by sum(n.bytes_received) desc limit 1) o on true
left join (select provider from newest where provider is not null
           group by 1 order by sum(bytes_received) desc limit 1) p on true,
    (select (percentile_cont(0.5) within group (order by bytes_per_trace_1h))::float8 as usual_bytes,
            coalesce(extract(epoch from max(recorded_at) - min(recorded_at)) / 3600, 0)::float8 as usual_hours
     from ip_pool_statistics
     where recorded_at between now() - interval '7 days' and now() - interval '2 hours'
           and bytes_per_trace_1h is not null) u

-- name: credentials_refused
-- Of the last hour's newest 20,000 traces: those whose proxy refused the credentials, by provider and country.
select coalesce(provider, 'unknown') as provider, target_country as country, count(*) as traces
from (select provider, verdict, target_country from active_trace_requests
      where created_at > now() - interval '1 hour' order by created_at desc limit 20000) t
where verdict = 'credentials' group by 1, 2

-- name: attempt_errors
-- Why the last hour's newest 20,000 traces failed by the fault of their IP or provider. Without the hop and its host, equal
-- errors are one.
select country, provider, regexp_replace(error_message, '^hop \d+ \([^)]*\): ', '') as error, count(*) as traces
from (select target_country as country, provider, error_message, verdict from active_trace_requests
      where created_at > now() - interval '1 hour' order by created_at desc limit 20000) t
where verdict in ('ip', 'provider') and provider is not null and error_message is not null
group by 1, 2, 3 order by 4 desc limit 500

-- name: has_clicks
select exists (select from hits where kind = 'click')

-- name: ips_out
-- Failed IPs, and other IPs whose last trace failed by the IP's fault.
select country, provider, count(*) filter (where status = 'failed' or not is_healthy) as failed,
       count(*) filter (where status <> 'failed' and is_healthy) as others
from ip_rotation_pool
where set_aside is null and (status = 'failed' or not is_healthy or consecutive_failures > 0)
group by country, provider

-- name: active_by_country
select target_country as country, count(*) as traces
from active_trace_requests where status = 'processing' or status = 'pending' and priority = 0 group by 1

-- name: clicks_by_minute
-- $1: days. Answered clicks by their country and minute, with the minutes since the first click of the group.
select coalesce(h.country, o.target_country) as country, floor(extract(epoch from h.created_at) / 60)::bigint as minute,
       count(*) as clicks,
       (extract(epoch from now() - min(h.created_at)) / 60)::float8 as minutes_since
from hits h join offers o on o.id = h.offer_id
where h.kind = 'click' and h.created_at > now() - make_interval(secs => $1::float8 * 86400)
group by 1, 2

-- name: trace_costs
-- $1: days. Of the newest 100,000 traces, by country: how many had an IP, and their mean time and bytes.
select target_country as country, count(*) as traces, avg(trace_time_ms)::float8 as trace_ms,
       avg(bytes_received)::float8 as bytes
from (
    select target_country, trace_time_ms, bytes_received from active_trace_requests
    where created_at > now() - make_interval(secs => $1::float8 * 86400)
    order by created_at desc limit 100000) t
where trace_time_ms is not null
group by 1

-- name: trace_of_click
select t.*, coalesce(h.offer_name, o.offer_name) as offer_name
from active_trace_requests t left join offers o on o.id = t.offer_id left join hits h using (request_id)
where t.request_id = $1

-- name: hit_of_click
select * from hits where request_id = $1

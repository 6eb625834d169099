-- Updates of IPs are HOT: no index has a column that changes with a lease, so a lease, a release and the end of a cooldown
-- write no index, and PostgreSQL reuses the space in the page without VACUUM. The pools are in memory: no query of a click
-- needs these indexes.
drop index if exists ip_rotation_pool_country_status;
drop index if exists ip_rotation_pool_locked_until;

-- Autovacuum starts at a share of the rows. By default, a fifth of a large table would be rows that are removed already.
alter table hits set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table active_trace_requests set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- The sizes of the tables in each minute: their growth in a day says how long the disk lasts.
alter table ip_pool_statistics add column table_bytes jsonb;
comment on column ip_pool_statistics.table_bytes is 'the size of each table with its indexes';

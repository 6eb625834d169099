-- How often a failed IP's probes have failed, one after the other: the next one waits for the longer.

alter table ip_rotation_pool
    add column if not exists probe_failures integer not null default 0;

comment on column ip_rotation_pool.probe_failures is 'probes of a failed IP that failed in a row; 0 once it is back in use';

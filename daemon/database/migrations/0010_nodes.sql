-- Which daemon may lease the IPs of this database. A session's lock cannot say so: it ends with the session, not with
-- the traces, and behind a pooler it is nobody's. A row with a time by this database's clock can.

create table nodes (
    node_id       uuid primary key,
    name          text not null,
    epoch         bigint not null,
    claim         uuid,
    state         text not null check (state in ('active', 'left', 'removed', 'lost')),
    trusted_until timestamptz not null,
    quiet_s       double precision not null,
    figures       jsonb not null default '{}',
    version       text not null,
    started_at    timestamptz not null default now()
);
comment on column nodes.claim is 'random for each time the node joined: a node whose claim is not here leases nothing';
comment on column nodes.state is
    'active; left: stopped in order; removed: by an operator; lost: another node took over, or freed its IPs';
comment on column nodes.trusted_until is 'until then the node may lease by itself, whether or not it can be reached';
comment on column nodes.quiet_s is
    'its lock, cooldown and a margin: so long after trusted_until nothing that it began can still run';

-- A provider's name is a key of the table traffic, and a key has a bounded length. "not valid": rows that are there stay.
alter table ip_rotation_pool
    add constraint ip_rotation_pool_provider_has_at_most_200_characters check (length(provider) <= 200) not valid;

-- Several nodes share this database: each IP has an owner, and only the owner leases it.

alter table nodes
    add column protocol smallint not null default 0,
    add column beat     bigint not null default 0,
    add column draining boolean not null default false,
    add column trust_s  double precision not null default 900;
alter table nodes set (fillfactor = 20);  -- a row changes each second
comment on column nodes.protocol is '0: a version that knows no owners and leases all IPs; 1: owners';
comment on column nodes.beat is 'grows with each renewal: a node whose beat is not here sees that rows were lost';
comment on column nodes.draining is 'set by an operator: the node gives its IPs away and leases none';
comment on column nodes.trust_s is 'how long the node leases after a renewal, whether or not it can be reached';
comment on column nodes.figures is 'the node''s own figures at its last renewal';

-- The present rows belong to the node that had this database last. A column with a constant default is added at once,
-- whatever the number of rows. No index has node_id: so taking many rows changes no index.
do $$
begin
    execute format('alter table ip_rotation_pool add column node_id uuid default %L',
                   (select node_id from nodes where state in ('active', 'left') order by started_at desc limit 1));
    alter table ip_rotation_pool alter column node_id drop default;
end $$;
alter table ip_rotation_pool set (fillfactor = 45);
comment on column ip_rotation_pool.node_id is 'the node that owns this IP and alone leases it; null: nobody yet';

-- What one node does for all: whoever inserts the row does the round of that minute.
create table rounds (
    name    text not null,
    minute  timestamptz not null,
    node_id uuid not null,
    at      timestamptz not null default now(),
    primary key (name, minute)
);
comment on table rounds is 'what is done once for all nodes, and which node does it: the one that inserted the row';

-- The action log: who changed what, and when. The API writes a row for each change, and so do the commands.
-- What operators change by SQL of their own is not in it.
create table actions (
    id      bigint generated always as identity primary key,
    at      timestamptz not null default clock_timestamp(),
    who     text not null,
    what    text not null,
    subject text not null default '',
    detail  jsonb not null default '{}',
    node_id uuid
);
create index actions_at on actions (at);

comment on column actions.who is
    'a token''s name; settings: control.token; open: a request where no token is required; cli:USER: a command';
comment on column actions.subject is 'the name of what changed: an offer, an IP, a node, a token; empty: several';
comment on column actions.node_id is 'the node that answered the request; null: a command';

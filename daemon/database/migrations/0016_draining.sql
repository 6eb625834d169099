-- Since when a node drains, for advice on a node that was forgotten.

alter table nodes add column draining_at timestamptz;
comment on column nodes.draining_at is 'since when the node drains';

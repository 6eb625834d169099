-- Facts (hits, traces, traffic) and states (rows of ip_rotation_pool) are applied in order, each by itself: a lock on an
-- IP's row holds up no hit. So a node has two positions in its journal.

alter table journal_position
    add column lane text not null default 'facts' check (lane in ('facts', 'states')),
    drop constraint journal_position_pkey,
    add primary key (node_id, lane);
alter table journal_position alter column lane drop default;
insert into journal_position (node_id, lane, epoch, seq, applied_at)
select node_id, 'states', epoch, seq, applied_at from journal_position;

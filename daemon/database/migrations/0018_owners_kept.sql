-- Only the nodes decide which of them owns an IP: an operator's statement does not change it. The daemon's own
-- transactions pass by the conditions alone, so that a bulk take costs no call for each row.

create function tracepool_keep_owner() returns trigger language plpgsql set search_path from current as $$
begin
    new.node_id := case when tg_op = 'UPDATE' then old.node_id end;
    return new;
end $$;

create trigger keep_owner_insert before insert on ip_rotation_pool for each row
    when (new.node_id is not null and current_setting('tracepool.writer', true) is distinct from 'daemon')
    execute function tracepool_keep_owner();
create trigger keep_owner_update before update of node_id on ip_rotation_pool for each row
    when (old.node_id is distinct from new.node_id
          and current_setting('tracepool.writer', true) is distinct from 'daemon')
    execute function tracepool_keep_owner();

comment on column ip_rotation_pool.node_id is
    'the node that owns this IP and alone leases it; null: nobody yet. Only the nodes set it: in an operator''s INSERT or '
    'UPDATE it is ignored. To take all IPs from a node: tracepool nodes drain';

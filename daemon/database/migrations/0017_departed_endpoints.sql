-- Endpoints that operators' statements took from an IP's row while its owner may still use them. Until the owner has
-- seen that the endpoint is neither in use nor rests, and has deleted the entry, no other node takes a row with it.

create table departed_endpoints (
    no         bigint generated always as identity,
    id         uuid not null,
    ip_address text not null,
    ip_port    text not null,
    username   text not null,
    node_id    uuid not null,
    gone_at    timestamptz not null default now()
);
alter table departed_endpoints replica identity full;  -- without an index, a DELETE of 100,000 IPs stays fast
comment on table departed_endpoints is
    'endpoints that a row had until an operator''s DELETE or UPDATE, and that the node node_id may still use';

-- A security definer: an operator's role needs no rights on departed_endpoints.
create function tracepool_note_departed() returns trigger
    language plpgsql security definer set search_path from current as $$
declare
    writer text := current_setting('tracepool.writer', true);
    first_no bigint;
    last_no bigint;
begin
    if writer is not distinct from 'daemon' then
        return null;
    end if;
    if tg_op = 'TRUNCATE' then
        insert into departed_endpoints (id, ip_address, ip_port, username, node_id)
        select id, ip_address, ip_port, coalesce(username, ''), node_id
        from ip_rotation_pool where node_id is not null and set_aside is null;
        return null;
    elsif tg_op = 'DELETE' then
        insert into departed_endpoints (id, ip_address, ip_port, username, node_id)
        select id, ip_address, ip_port, coalesce(username, ''), node_id
        from old_rows where node_id is not null and set_aside is null;
        return null;
    end if;
    insert into departed_endpoints (id, ip_address, ip_port, username, node_id)
    select o.id, o.ip_address, o.ip_port, coalesce(o.username, ''), o.node_id
    from old_rows o left join new_rows n on n.id = o.id
    where o.node_id is not null and o.set_aside is null
          and (n.id is null or n.set_aside is not null
               or (o.ip_address, o.ip_port, coalesce(o.username, '')) <> (n.ip_address, n.ip_port, coalesce(n.username, '')));
    if not exists (select from departed_endpoints) then
        return null;
    end if;
    -- The owner of a row must not use an endpoint that another node may still use: the row is nobody's.
    perform set_config('tracepool.writer', 'daemon', true);
    with nobodys as (
        update ip_rotation_pool p
        set node_id = null, lease_no = p.lease_no + 1, edit_no = nextval('ip_edit_no'), locked_until = null,
            locked_by_request = null, status = case when p.is_healthy and p.status <> 'failed' then 'available' else 'failed' end
        from new_rows n left join old_rows o on o.id = n.id
        where p.id = n.id and p.node_id is not null and p.set_aside is null
              and (o.id is null or o.set_aside is not null
                   or (o.ip_address, o.ip_port, coalesce(o.username, '')) <> (n.ip_address, n.ip_port, coalesce(n.username, '')))
              and exists (select from departed_endpoints d
                          where (d.ip_address, d.ip_port, d.username) = (n.ip_address, n.ip_port, coalesce(n.username, ''))
                                and d.node_id <> n.node_id)
        returning p.edit_no)
    select min(edit_no), max(edit_no) into first_no, last_no from nobodys;
    perform set_config('tracepool.writer', coalesce(writer, ''), true);
    if first_no is not null then
        perform pg_notify('tracepool_ips', first_no || ' ' || last_no);
    end if;
    return null;
end $$;

create trigger note_departed_delete after delete on ip_rotation_pool
    referencing old table as old_rows for each statement execute function tracepool_note_departed();
create trigger note_departed_truncate before truncate on ip_rotation_pool
    for each statement execute function tracepool_note_departed();
create trigger note_departed_update after update on ip_rotation_pool
    referencing old table as old_rows new table as new_rows for each statement execute function tracepool_note_departed();

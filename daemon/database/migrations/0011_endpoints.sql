-- One spelling for each proxy endpoint, refused duplicates, and logins that belong to one IP.

-- The same function as canonical_host in web/endpoints.py: the canonical text of a host, null if it is none. Names of
-- other scripts than ASCII are refused here: the command and the API convert them to xn--.
create function tracepool_canonical_host(given text) returns text
    language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    host    text collate "C" := btrim(given, e' \t\n\r\f\x0b');
    parts   text[];
    part    text;
    number  integer;
    found   text := '';
    address inet;
begin
    if host ~ '[:[]' then
        if host ~ '^\[.*\]$' then
            host := substr(host, 2, length(host) - 2);
        end if;
        parts := regexp_match(host, '^([0-9A-Fa-f:.]{2,45})(%[A-Za-z0-9._-]{1,15})?$');
        -- The type inet accepts longer groups and leading zeros, in which IPv4 numbers have two readings.
        if parts is null or strpos(parts[1], ':') = 0 or parts[1] ~ '[0-9A-Fa-f]{5}'
           or substring(parts[1] from '[^:]*[.][^:]*$') !~ '^(0|[1-9][0-9]{0,2})([.](0|[1-9][0-9]{0,2})){3}$' then
            return null;
        end if;
        begin
            address := parts[1]::inet;
        exception when data_exception then
            return null;
        end;
        host := host(address);
        if parts[2] is not null and (parts[2] ~ '^%[0-9]+$' or not address <<= inet 'fe80::/10') then
            return null;
        elsif address <<= inet '::ffff:0:0/96' then
            host := substring(host from '[0-9.]+$');
        elsif address = inet '::' or address <<= inet 'ff00::/8' then
            return null;
        elsif strpos(host, '.') > 0 then  -- in ::/96, where inet writes an IPv4 address
            parts := regexp_split_to_array(substr(host, 3), '[.]');
            number := parts[1]::integer * 256 + parts[2]::integer;
            return '::' || case when number > 0 then to_hex(number) || ':' else '' end
                   || to_hex(parts[3]::integer * 256 + parts[4]::integer);
        else
            return host || coalesce(parts[2], '');
        end if;
    end if;
    host := regexp_replace(lower(host), '[.]$', '');
    if host ~ '^(0x[0-9a-f]*|[0-9]+)([.](0x[0-9a-f]*|[0-9]+))*$' then
        if host ~ '^[0-9]{1,7}$' then
            return host;
        end if;
        if host !~ '^(0x[0-9a-f]{1,2}|0|[1-9][0-9]{0,2})([.](0x[0-9a-f]{1,2}|0|[1-9][0-9]{0,2})){3}$' then
            return null;
        end if;
        foreach part in array regexp_split_to_array(host, '[.]') loop
            number := case when part like '0x%' then ('x' || lpad(substr(part, 3), 8, '0'))::bit(32)::integer
                           else part::integer end;
            if number > 255 or (found = '' and number not between 1 and 223) then
                return null;
            end if;
            found := concat(found, case when found <> '' then '.' end, number);
        end loop;
        return found;
    end if;
    if length(host) > 253
       or host !~ '^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?([.][a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$' then
        return null;
    end if;
    return host;
end $$;

-- The canonical text of a port, null if it is none.
create function tracepool_canonical_port(given text) returns text
    language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
    select case when number::integer <= 65535 then number end
    from substring(btrim(given, e' \t\n\r\f\x0b') from '^0*([1-9][0-9]{0,4})$') number
$$;

alter table ip_rotation_pool
    add column username  text constraint ip_rotation_pool_username_is_short_without_colon_and_control
                         check (username ~ '^[^:[:cntrl:]]+$' and length(username) <= 1024),
    add column password  text constraint ip_rotation_pool_password_needs_a_username
                         check (password is null or username is not null),
    add column set_aside text;
comment on column ip_rotation_pool.username is 'the proxy''s login for this IP alone, instead of its provider''s';
comment on column ip_rotation_pool.password is 'as secret as this database: no log, status or API shows it';
comment on column ip_rotation_pool.set_aside is 'why this row is no IP of the pool and is never leased; null: it is one';

alter table ip_rotation_pool drop constraint if exists ip_rotation_pool_ip_address_ip_port_key;

-- Rows that are no endpoint, and rows whose endpoint another row has, are set aside: nothing is deleted. Of several rows
-- with one endpoint, one stays; it keeps the latest use, lock and rest of all of them.
create temporary table tracepool_endpoints on commit drop as
select id, host, port, status, last_used_at, locked_until, first_value(id) over best as kept
from (select *, tracepool_canonical_host(ip_address) as host, tracepool_canonical_port(ip_port) as port
      from ip_rotation_pool) found
window best as (partition by host, port
                order by is_healthy desc, status = 'locked' desc, last_used_at desc nulls last, created_at, id);

update ip_rotation_pool p
set status = 'failed', is_healthy = false,
    set_aside = case when e.host is null or e.port is null
                     then 'ip_address and ip_port are no endpoint: write a host such as 192.0.2.7, 2001:db8::7 or '
                          'gate.example, and a port from 1 to 65535'
                     else format('its endpoint, %s port %s, is that of the row with the id %s', e.host, e.port, e.kept) end
from tracepool_endpoints e
where e.id = p.id and (e.host is null or e.port is null or e.kept <> e.id);

-- Not an operator's edit: edit_no stays, so that the entries of a journal that are not applied yet still are.
select set_config('tracepool.writer', 'daemon', true);
update ip_rotation_pool p set ip_address = e.host, ip_port = e.port
from tracepool_endpoints e
where e.id = p.id and p.set_aside is null and (p.ip_address, p.ip_port) is distinct from (e.host, e.port);
update ip_rotation_pool p
set last_used_at = busy.last_used_at, locked_until = coalesce(busy.until, p.locked_until),
    status = case when p.status = 'failed' or busy.until is null then p.status
                  when busy.locked then 'locked' else 'cooldown' end
from (select kept, max(last_used_at) as last_used_at,
             max(locked_until) filter (where status <> 'available' and isfinite(locked_until)) as until,
             bool_or(status = 'locked') as locked
      from tracepool_endpoints where host is not null and port is not null group by kept having count(*) > 1) busy
where p.id = busy.kept;
select set_config('tracepool.writer', '', true);
drop table tracepool_endpoints;

create unique index ip_rotation_pool_one_row_for_each_endpoint_and_username
    on ip_rotation_pool (ip_address, ip_port, (coalesce(username, ''))) where set_aside is null;

-- A statement of any role gets canonical values or is refused. An edit of the endpoint ends that the row is set aside.
create function tracepool_canonical_endpoint() returns trigger
    language plpgsql set search_path from current as $$
declare
    given text := new.ip_address;
    shown text := quote_literal(left(given, 80));
    plain text;
begin
    new.username := nullif(new.username, '');
    if tg_op = 'UPDATE' then
        if (new.ip_address, new.ip_port) is distinct from (old.ip_address, old.ip_port) then
            if new.set_aside is not distinct from old.set_aside then
                new.set_aside := null;
            end if;
        elsif old.set_aside is null then
            return new;
        end if;
    end if;
    if new.set_aside is not null then
        return new;
    end if;
    new.ip_address := tracepool_canonical_host(new.ip_address);
    if new.ip_address is null and given is not null then
        -- As in web/endpoints.py, a text that may hold a login is not repeated.
        plain := replace(given, '://', '');
        if plain like '%@%' or btrim(plain) ~ '[\s;,|]+[^\s;,|]+[\s;,|]' or plain ~ ':' and plain !~ '^[^:]*:[0-9]{0,5}\s*$' and plain !~ '^[][0-9A-Fa-f:.%]*$' then
            shown := '(not shown: it may hold a password)';
        end if;
        raise exception 'ip_address % is neither an IP address nor a host name', shown using
            errcode = 'check_violation', table = tg_table_name, column = 'ip_address',
            hint = case
                when given like '%/%' then 'Write only the host, without a scheme and a path, into ip_address, and the '
                                           'port into ip_port.'
                when given ~ '^[^:]*:[^:]*$' then 'Write the port into ip_port, and only the host into ip_address.'
                when given ~ '[^ -~]' then 'Write a name of another script than ASCII as xn--, as browsers do; `tracepool '
                                           'provision import` converts it.'
                when given ~ '^[0-9.xX]+$' then 'An IPv4 address has four numbers from 0 to 255, without leading zeros, '
                                                'such as 192.0.2.7; the first one is from 1 to 223.'
                else 'Write an address such as 192.0.2.7 or 2001:db8::7, or a host name such as gate.example.' end;
    end if;
    given := new.ip_port;
    new.ip_port := tracepool_canonical_port(new.ip_port);
    if new.ip_port is null and given is not null then
        raise exception 'ip_port % is not a port', quote_literal(left(given, 20)) using
            errcode = 'check_violation', table = tg_table_name, column = 'ip_port',
            hint = 'Write a number from 1 to 65535.';
    end if;
    return new;
end $$;

create trigger canonical_endpoint before insert or update of ip_address, ip_port, username, set_aside on ip_rotation_pool
    for each row execute function tracepool_canonical_endpoint();

create function tracepool_keep_set_aside() returns trigger language plpgsql as $$
begin
    new.status := 'failed';
    new.is_healthy := false;
    return new;
end $$;

-- "keep" comes after "canonical" in the alphabet, so it runs after it.
create trigger keep_set_aside before insert or update on ip_rotation_pool
    for each row when (new.set_aside is not null) execute function tracepool_keep_set_aside();

drop trigger number_edit on ip_rotation_pool;
create trigger number_edit before update on ip_rotation_pool for each row
    when (current_setting('tracepool.writer', true) is distinct from 'daemon'
          and (old.status, old.is_healthy, old.consecutive_failures, old.locked_until, old.ip_address, old.ip_port,
               old.country, old.provider, old.username, old.password, old.set_aside)
              is distinct from
              (new.status, new.is_healthy, new.consecutive_failures, new.locked_until, new.ip_address, new.ip_port,
               new.country, new.provider, new.username, new.password, new.set_aside))
    execute function tracepool_number_edit();

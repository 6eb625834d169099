-- What the dashboard's curves show of times before the last start, and of more than a day: a row for each minute with
-- clicks. The round of each minute writes it from hits and traces.
create table click_minutes (
    minute       timestamptz primary key,
    clicks       integer not null,
    resolved     integer not null,
    fallbacks    jsonb not null default '{}',
    wait_p50_ms  real,
    wait_p95_ms  real,
    wait_p99_ms  real,
    trace_p50_ms real,
    trace_p95_ms real,
    trace_p99_ms real
);

comment on table click_minutes is 'clicks by minute, without repeats and previews; computed from hits and traces';
comment on column click_minutes.fallbacks is 'by reason';

-- Sorts addresses: IPv4 by number, then IPv6, then host names. Rows by SQL may hold any text.
create function address_order(address text) returns text language plpgsql immutable strict parallel safe as $$
declare
    octets text[];
begin
    if address ~ '^[0-9]{1,3}(\.[0-9]{1,3}){3}$' then
        octets := string_to_array(address, '.');
        return '4' || lpad(octets[1], 3, '0') || lpad(octets[2], 3, '0') || lpad(octets[3], 3, '0')
                   || lpad(octets[4], 3, '0');
    elsif position(':' in address) > 0 then
        return '6' || encode(inet_send(address::inet), 'hex');
    end if;
    return '7' || address;
exception when others then
    return '7' || address;
end $$;

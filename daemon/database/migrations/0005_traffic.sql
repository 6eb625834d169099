-- Bytes and money: what went through the proxies, by IP, by trace, and by day, provider and offer.

alter table ip_rotation_pool
    add column bytes_received bigint not null default 0,
    add column bytes_sent     bigint not null default 0;

alter table active_trace_requests
    add column if not exists bytes_sent bigint not null default 0,
    add column cost double precision;
comment on column active_trace_requests.cost is
    'US dollars for all bytes of all attempts, at the price_per_gb that their providers had then; null without an IP';

-- One row for each day (UTC), provider and offer; it grows with the journal, in the transaction that applies a trace.
create table traffic (
    day            date not null,
    provider       text not null,
    offer_id       uuid,
    offer_name     text,
    traces         bigint not null,
    bytes_received bigint not null,
    bytes_sent     bigint not null,
    cost           double precision not null
);
-- PostgreSQL 14 has no "nulls not distinct": traces without an offer share a row all the same.
create unique index traffic_day_provider_offer
    on traffic (day, provider, (coalesce(offer_id, '00000000-0000-0000-0000-000000000000')));
comment on table traffic is 'bytes through the proxies, as the proxies count them: TLS and CONNECT included';
comment on column traffic.traces is 'that went through this provider; one that was tried through two counts for both';
comment on column traffic.cost is 'US dollars, at the price_per_gb of the time; 0 where a provider has no price';

alter table ip_pool_statistics
    add column bytes_1h bigint,
    add column cost_1h  double precision;
comment on column ip_pool_statistics.bytes_1h is 'received and sent by the traces that ended in the last hour';
comment on column ip_pool_statistics.cost_1h is 'their cost in US dollars';

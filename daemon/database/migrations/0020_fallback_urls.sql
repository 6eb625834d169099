-- Where the clicks of an offer go that serves none: it is paused, or its tracking URL is unusable.
alter table offers
    add column fallback_url text
        constraint offers_fallback_url_is_http_or_https check (fallback_url ~* '^https?://'),
    add column paused_to text
        constraint offers_paused_to_is_another_offer check (paused_to <> '' and paused_to <> offer_name);

comment on column offers.fallback_url is
    'where its clicks go while it is paused or its tracking URL is unusable; may carry macros; null: click.fallback_url';
comment on column offers.paused_to is 'the name of the offer that takes its clicks while it is paused; null: none';

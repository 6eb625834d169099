-- How an offer is traced: by requests, by a browser, or by a browser where requests do not suffice.
alter table offers
    add column tracer text not null default 'default'
        constraint offers_tracer_is_default_http_auto_or_browser
        check (tracer in ('default', 'http', 'auto', 'browser'));

comment on column offers.tracer is
    'how it is traced: http, auto (a browser where http does not suffice), browser; default: the setting trace.tracer';

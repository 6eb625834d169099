-- Repeats of a click and previews of a link are hits too, but no clicks. The rows that exist are clicks: no scan.
alter table hits
    add column kind text not null default 'click',
    add constraint hits_kind_is_click_repeat_or_preview check (kind in ('click', 'repeat', 'preview')) not valid;

comment on column hits.kind is
    'click; repeat: the same click again, which got the first answer; preview: HEAD, or the preview of a link';

-- Which parameters identify a click of an offer.
alter table offers
    add column click_ids text[]
        constraint offers_click_ids_holds_names check (
            click_ids is null or cardinality(click_ids) <= 100
            and array_position(click_ids, null) is null and array_position(click_ids, '') is null);

comment on column offers.click_ids is
    'parameters that identify a click, instead of gclid, wbraid, gbraid, msclkid, fbclid, ttclid; null: these';

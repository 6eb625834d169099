-- Clicks are found by their click id and by their visitor, also those that have no trace.
alter table hits add column click_id text;

comment on column hits.click_id is
    'of its offer''s click_ids, else gclid, msclkid, fbclid, ttclid, wbraid or gbraid; the first 512 characters';

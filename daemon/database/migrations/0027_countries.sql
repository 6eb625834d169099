-- Several countries of an offer. target_country stays the first of them, so that statements on it keep their meaning.
alter table offers
    add column countries text[]
        constraint offers_countries_holds_codes check (
            countries is null or cardinality(countries) <= 250
            and array_position(countries, null) is null and array_position(countries, '') is null),
    add column country_urls jsonb,
    add column country_param text
        constraint offers_country_param_is_a_name check (country_param <> '' and length(country_param) <= 255),
    add constraint offers_country_urls_maps_countries_to_urls_and_weights check (
        case when country_urls is null then true
             when jsonb_typeof(country_urls) <> 'object' or country_urls ? '' then false
             when jsonb_path_exists(country_urls, 'strict $.* ? (@.type() != "array")') then false
             when jsonb_path_exists(country_urls, 'strict $.* ? (@.size() < 1 || @.size() > 50)') then false
             else jsonb_array_length(jsonb_path_query_array(country_urls, 'strict $.*[*]'))
                      = jsonb_array_length(jsonb_path_query_array(country_urls,
                          'strict $.*[*] ? (@.type() == "object"
                              && @.url.type() == "string" && @.url like_regex "^https?://" flag "i"
                              && (!exists(@.keyvalue() ? (@.key == "weight"))
                                  || @.weight.type() == "number" && @.weight > 0 && @.weight <= 1000000)
                              && !exists(@.keyvalue() ? (@.key != "url" && @.key != "weight")))')) end);

comment on column offers.target_country is
    'the first of countries, or the only one: its IPs trace the clicks of visitors from all countries that have no own';
comment on column offers.countries is
    'the countries whose IPs trace its clicks, the first one is target_country; null: target_country alone';
comment on column offers.country_urls is
    'tracking URLs of single countries: {"de": [{"url": "https://ads.example/de", "weight": 3}, …], …}; null: none';
comment on column offers.country_param is
    'the parameter of a click with the visitor''s country; null: the setting click.country_param';

-- A statement that sets countries sets target_country; one that sets target_country alone replaces the first country.
create function tracepool_offer_countries() returns trigger language plpgsql set search_path from current as $$
begin
    if cardinality(new.countries) > 0 and new.target_country is distinct from new.countries[1] then
        if tg_op = 'UPDATE' and new.countries is not distinct from old.countries then
            new.countries := array_prepend(new.target_country, array_remove(new.countries[2:], new.target_country));
        else
            new.target_country := new.countries[1];
        end if;
    end if;
    return new;
end $$;

create trigger offers_countries before insert or update of target_country, countries on offers
    for each row execute function tracepool_offer_countries();

alter table hits add column country text;

comment on column hits.country is
    'the country whose IPs were to trace the click; null: no offer served it, or a row of an earlier version';

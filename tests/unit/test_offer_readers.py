"""Readers of offers' columns: accepted values and error messages."""

import pytest

from daemon.errors import BadInput
from daemon.offers.schema import OfferFields, offer_fields, read_offers

URL = "https://ads.example/click?id=7"


def offer(**values: object) -> OfferFields:
    return offer_fields({"offer_name": "summer", "final_url": URL, **values}, allow_private=False)


def test_a_column_that_is_not_given_is_none() -> None:
    assert offer() == OfferFields("summer", URL)


def test_a_csv_file_and_json_lines_are_read_alike() -> None:
    as_csv = f"offer_name,final_url,is_active,deadline_s\nsummer,{URL},no,8\nwinter,{URL},,\n"
    as_json = (
        f'{{"offer_name": "summer", "final_url": "{URL}", "is_active": false, "deadline_s": 8}}\n'
        f'{{"offer_name": "winter", "final_url": "{URL}"}}\n'
    )
    expected = (OfferFields("summer", URL, is_active=False, deadline_s=8.0), OfferFields("winter", URL))
    assert read_offers(as_csv, allow_private=False).rows == expected
    assert read_offers(as_json, allow_private=False).rows == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"offer_name": " "}, "offer_name is blank"),
        ({"offer_name": "a\nb"}, "control character"),
        ({"final_url": ""}, "final_url is blank"),
        ({"final_url": "ads.example/click"}, "does not start with http"),
        ({"final_url": "javascript:alert(1)"}, "does not start with http"),
        ({"final_url": "https://10.0.0.1/"}, "private address"),
        ({"target_country": ""}, "target_country is blank"),
        ({"is_active": "maybe"}, "is_active must be true or false"),
        ({"deadline_s": 0.5}, "deadline_s must be 1 to 60 seconds"),
        ({"deadline_s": "61"}, "deadline_s must be 1 to 60 seconds"),
        ({"deadline_s": "nan"}, "deadline_s must be 1 to 60 seconds"),
        ({"deadline_s": True}, "deadline_s must be text in quotes, not true or false"),
        ({"user_agent": "curl"}, "user_agent must be default or visitor"),
        ({"landing_schemes": "market://"}, "'market://' is no scheme such as market or intent"),
        ({"landing_schemes": [7]}, "'7' is no scheme"),
        ({"landing_schemes": ["market", "JavaScript"]}, "'JavaScript' runs in the visitor's browser"),
        ({"landing_schemes": "data"}, "never allowed"),
        ({"landing_schemes": [f"s{n}" for n in range(21)]}, "holds 21 schemes; at most 20"),
        ({"stop_at": "https://shop.example/x"}, "'https://shop.example/x' is no host"),
        ({"stop_at": ["shop.example", 7]}, "7 is no host"),
        ({"stop_at": {"shop.example": 1}}, "is no list"),
        ({"stop_at": "com"}, "single-label host 'com'"),
        ({"stop_at": "127.0.0.1"}, "loopback address"),
        ({"stop_at": [f"{n}.shop.example" for n in range(21)]}, "holds 21 hosts; at most 20"),
        ({"param_filter": "gclid wbraid"}, "param_filter must be"),
        ({"param_filter": ","}, "param_filter must be"),
        ({"param_filter": '{"keep": ["a"'}, "param_filter is no JSON"),
        ({"param_filter": {"keep": ["a"], "drop": ["b"]}}, "param_filter must be"),
        ({"param_filter": {"keep": [f"n{n}" for n in range(101)]}}, "holds 101 names; at most 100"),
        ({"param_filter": 7}, "param_filter must be text in quotes, not a number"),
        ({"rename": "gclid"}, "'gclid' must read FROM=TO"),
        ({"rename": "=x"}, "'' is no parameter's name"),
        ({"rename": ["gclid="]}, "'' is no parameter's name"),
        ({"rename": "gclid=a gclid=b"}, "'gclid' is given twice"),
        ({"rename": {"gclid": "x" * 256}}, "text of 1 to 255 characters"),
        ({"rename": {f"n{n}": "x" for n in range(101)}}, "holds 101 names; at most 100"),
        ({"tracking_urls": "3:ads.example/x"}, "does not start with http"),
        ({"tracking_urls": "0:https://ads.example/"}, "a weight must be a number above 0"),
        ({"tracking_urls": "x:https://ads.example/"}, "up to 1000000, not 'x'"),
        ({"tracking_urls": "nan:https://ads.example/"}, "a weight must be a number"),
        ({"tracking_urls": "https://10.0.0.1/"}, "private address"),
        ({"tracking_urls": ["https://{a}.example/"]}, "stands before the path"),
        ({"tracking_urls": [f"https://ads.example/{n}" for n in range(51)]}, "holds 51 URLs; at most 50"),
        ({"trace_backend": "remote"}, "trace_backend must be default, local or service"),
        ({"final_url": "https://{gclid}.example/"}, "the macro {gclid} stands before the path"),
    ],
)
def test_a_bad_value_is_named(values: dict[str, object], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        offer(**values)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("Market, intent  market", ("market", "intent")),
        (["itms-apps"], ("itms-apps",)),
        ([], ()),
        (" ", None),
        (None, None),
    ],
)
def test_landing_schemes_are_a_list_or_words(given: object, read: tuple[str, ...] | None) -> None:
    assert offer(landing_schemes=given).landing_schemes == read


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ({"stop_at": "Shop.Example, other.example"}, ("shop.example", "other.example")),
        ({"stop_at": ["shop.example", "SHOP.example."]}, ("shop.example",)),
        ({"stop_at": []}, ()),
        ({"stop_at": ""}, None),
        ({"param_filter": "keep gclid, wbraid"}, '{"keep": ["gclid", "wbraid"]}'),
        ({"param_filter": "drop: fbclid"}, '{"drop": ["fbclid"]}'),
        ({"param_filter": '{"keep": ["a b"]}'}, '{"keep": ["a b"]}'),
        ({"param_filter": {"drop": ["é"]}}, '{"drop": ["é"]}'),
        ({"param_filter": {}}, ""),
        ({"param_filter": " "}, None),
        ({"rename": "gclid=sub1 wbraid=sub2"}, '{"gclid": "sub1", "wbraid": "sub2"}'),
        ({"rename": ["a=b=c"]}, '{"a": "b=c"}'),
        ({"rename": {"gclid": "sub1"}}, '{"gclid": "sub1"}'),
        ({"rename": []}, ""),
        ({"tracking_urls": "3:https://a.example/ 0.5:https://b.example/"},
         '[{"url": "https://a.example/", "weight": 3}, {"url": "https://b.example/", "weight": 0.5}]'),
        ({"tracking_urls": [URL]}, f'[{{"url": "{URL}", "weight": 1}}]'),
        ({"tracking_urls": [{"url": "https://a.example/é{a}"}]},
         '[{"url": "https://a.example/%C3%A9{a}", "weight": 1}]'),
        ({"tracking_urls": []}, ""),
        ({"trace_backend": "service"}, "service"),
        ({"trace_backend": ""}, None),
    ],
)  # fmt: skip
def test_lists_and_objects_are_words_or_json(values: dict[str, object], stored: object) -> None:
    [column] = values
    assert getattr(offer(**values), column) == stored


def test_the_columns_of_a_csv_file_are_words() -> None:
    text = (
        "offer_name,final_url,stop_at,param_filter,rename,tracking_urls,trace_backend\n"
        f"summer,{URL},shop.example other.example,keep gclid,gclid=sub1,3:{URL} {URL}8,local\n"
        f"winter,{URL},,,,,\n"
    )
    first, second = read_offers(text, allow_private=False).rows
    assert first == OfferFields(
        offer_name="summer",
        final_url=URL,
        stop_at=("shop.example", "other.example"),
        param_filter='{"keep": ["gclid"]}',
        rename='{"gclid": "sub1"}',
        tracking_urls=f'[{{"url": "{URL}", "weight": 3}}, {{"url": "{URL}8", "weight": 1}}]',
        trace_backend="local",
    )
    assert second == OfferFields("winter", URL)


def test_a_private_host_is_accepted_where_it_is_allowed() -> None:
    fields = {"offer_name": "local", "final_url": "http://127.0.0.1:9/"}
    assert offer_fields(fields, allow_private=True).final_url == "http://127.0.0.1:9/"
    more = {**fields, "stop_at": "localhost", "tracking_urls": "http://127.0.0.1:9/"}
    assert offer_fields(more, allow_private=True).stop_at == ("localhost",)

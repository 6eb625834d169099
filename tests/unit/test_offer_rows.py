"""Values of offers: what is accepted, and what an error says."""

import pytest

from daemon.database.offer_rows import OfferFields, offer_fields, read_offers
from daemon.errors import BadInput

URL = "https://ads.example/click?id=7"


def offer(**values: object) -> OfferFields:
    return offer_fields({"offer_name": "summer", "final_url": URL, **values}, allow_private=False)


def test_what_is_not_given_is_none() -> None:
    assert offer() == OfferFields("summer", URL, None, None, None, None, None)


def test_a_csv_file_and_json_lines_say_the_same() -> None:
    as_csv = f"offer_name,final_url,is_active,deadline_s\nsummer,{URL},no,8\nwinter,{URL},,\n"
    as_json = (
        f'{{"offer_name": "summer", "final_url": "{URL}", "is_active": false, "deadline_s": 8}}\n'
        f'{{"offer_name": "winter", "final_url": "{URL}"}}\n'
    )
    expected = (
        OfferFields("summer", URL, None, False, 8.0, None, None),
        OfferFields("winter", URL, None, None, None, None, None),
    )
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


def test_a_private_host_is_accepted_where_it_is_allowed() -> None:
    fields = {"offer_name": "local", "final_url": "http://127.0.0.1:9/"}
    assert offer_fields(fields, allow_private=True).final_url == "http://127.0.0.1:9/"

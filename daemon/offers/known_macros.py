"""The parameters that ad networks are known to send, and what a macro of each name becomes. Pure.

Sources: Google Ads Help, "Set up tracking with ValueTrack parameters" (answer 6305348); the Google Ads API's guide
"ValueTrack parameters"; Microsoft Advertising, "What tracking or URL parameters can I use?".
"""

from collections.abc import Collection
from difflib import get_close_matches

CLICK_IDS = ("gclid", "wbraid", "gbraid", "gad_source", "gad_campaignid", "msclkid", "fbclid", "ttclid")
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id")
FINAL_URL = frozenset({"lpurl", "unescapedlpurl", "escapedlpurl"})
"""They insert the ad's final URL, in a tracking template only; +2 and +3 after the name escape it again."""

VALUE_TRACK = frozenset(
    {
        *("campaignid", "adgroupid", "assetgroupid", "feeditemid", "extensionid", "targetid", "creative", "keyword"),
        *("matchtype", "network", "device", "devicemodel", "loc_interest_ms", "loc_physical_ms", "placement", "target"),
        *("adposition", "random", "param1", "param2", "aceid", "campaigntype", "ignore"),
        *("ifmobile", "ifnotmobile", "ifsearch", "ifcontent"),  # {ifmobile:text}
        *("adtype", "merchant_id", "product_channel", "product_country", "product_id", "product_language"),
        *("product_partition_id", "store_code"),  # of shopping campaigns
        *("advanced_booking_window", "date_type", "hotelcenter_id", "hotel_id", "hotel_partition_id", "hotel_adtype"),
        *("number_of_adults", "price_displayed_tax", "price_displayed_total", "rate_rule_id", "travel_start_day"),
        *("travel_start_month", "travel_start_year", "travel_end_day", "travel_end_month", "travel_end_year"),
        *("user_currency", "user_language"),  # of hotel campaigns
        *("campaign", "adgroup", "adid", "bidmatchtype", "orderitemid", "querystring", "param3"),  # Microsoft's own
    }
)
_KNOWN = (*CLICK_IDS, *UTM, *sorted(VALUE_TRACK | FINAL_URL), "request_id", "offer", "country")
NEAR = 0.78  # of difflib: one letter of five


def remark(name: str, own: Collection[str] = ()) -> tuple[str, bool]:
    """What to add to a parameter's meaning, and whether it is a warning; an empty text for a click id.

    `own`: in lower case, the names that the offer uses itself (--click-id).
    """
    lower = name.lower()
    if lower in CLICK_IDS or lower in UTM or lower in own:
        return "", False
    if lower in FINAL_URL:
        why = f"Google Ads inserts the final URL for {{{name}}} in its own tracking template only, not here"
        return why, True
    if is_filled_by_network(lower):
        why = f"the ad network fills {{{name}}} in its own link only, so that link must say {name}={{{name}}}"
        return why, False
    near = get_close_matches(lower, [*_KNOWN, *own], 1, NEAR)
    if near:
        return f"no ad network is known to send it: is {{{near[0]}}} meant?", True
    return f"no ad network is known to send it, so the ad's link must say {name}=…", True


def is_filled_by_network(name: str) -> bool:
    """Whether a network replaces this macro in the ad's link. Google's own parameters of a campaign begin with `_`."""
    return name.lower() in VALUE_TRACK or name.startswith("_")

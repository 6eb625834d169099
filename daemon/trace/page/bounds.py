"""Bounds of the work that one page may cost, so that no page holds the event loop. Pure.

Work is counted in steps of about 1 µs: a visited node of the tree, or a parsed tag. Steps are counted and no clock is
read, so reading the same page always ends at the same place. A regular expression and lexbor cannot be interrupted;
their input is bounded instead.

The tree construction of the HTML Standard is not linear. Three rules are the cause:

- A tag may search all open elements: time grows with tags x depth.
- A second <html> or <body> tag compares its attributes with those of the first (13.2.6.4.7).
- A paragraph reopens every formatting element that is still open (13.2.4.3): 16 KiB of `<p><b 1><p><b 2>...` are
  1.1 million nodes and 570 MB.

Each count of tags is a count of text that may be a tag, so no count is too low. Text in a script or a comment may count
as well, which ends the reading of a page a little sooner.
"""

import re
from dataclasses import dataclass
from itertools import islice

STEPS_MAX = 12_288  # of one page, over all its readings: about 12 ms

TAGS_MAX = 2_048  # start and end tags; a page of 16 KiB usually has about 600
ROOT_TAGS_MAX = 8  # <html> and <body>
REOPENED_MAX = 8_192  # nodes that reopened formatting elements may add
_SAME_IN_A_ROW_MAX = 3  # formatting elements with the same attributes: the "Noah's Ark clause" (13.2.4.3)

_TAG = re.compile(r"<[A-Za-z/]")
_ROOT_TAG = re.compile(r"<(?:html|body)(?=[\t\n\f\r />])", re.I | re.ASCII)
# An <a> closes the one before it, so at most one is open.
_NAMES = "b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u"
_FORMATTING = re.compile(rf"<({_NAMES})([\t\n\f\r />])", re.I | re.ASCII)
_FORMATTING_NAME = re.compile(rf"(</?)(?=(?:{_NAMES})[\t\n\f\r />])", re.I | re.ASCII)


@dataclass(slots=True)
class Steps:
    """The steps that are left. `exhausted`: a request for steps was refused."""

    left: int = STEPS_MAX
    exhausted: bool = False

    def take(self, count: int) -> bool:
        """Uses `count` steps. False if fewer are left; then every later call returns False too."""
        if self.exhausted or count > self.left:
            self.exhausted = True
            return False
        self.left -= count
        return True


def bounded(text: str) -> tuple[str, int, bool]:
    """The markup to parse, an upper bound of its tags, and whether its end was cut off.

    If formatting elements could be reopened too often, they are renamed: <b> becomes <x-b>. html.py does not need them.
    """
    all_characters = len(text)
    text, tags = _first(_TAG, text, TAGS_MAX)
    text, _ = _first(_ROOT_TAG, text, ROOT_TAGS_MAX)
    cut = len(text) < all_characters
    if tags * _formatting(text) > REOPENED_MAX:
        text = _FORMATTING_NAME.sub(r"\1x-", text)
    return text, tags, cut


def _first(pattern: re.Pattern[str], text: str, count: int) -> tuple[str, int]:
    """The text before match number `count` + 1, and how many matches it has."""
    found = list(islice(pattern.finditer(text), count + 1))
    return (text[: found[count].start()], count) if len(found) > count else (text, len(found))


def _formatting(text: str) -> int:
    """How many formatting elements may be open at once."""
    with_attributes, plain = 0, set()
    for name, end in _FORMATTING.findall(text):
        if end == ">":
            plain.add(name.lower())
        else:
            with_attributes += 1
    return with_attributes + _SAME_IN_A_ROW_MAX * len(plain) + 1

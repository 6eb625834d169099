"""The work that one page may cost, counted in steps, so that no page holds the event loop. Pure.

A step is about 1 µs of work: a node of the tree that is visited, or a tag that is parsed. Steps are counted and no
clock is read: the same page always ends at the same place. What cannot be interrupted (a regular expression, lexbor)
has a bounded input instead: see markup.py.
"""

STEPS_MAX = 12_288  # of one page, over all looks at it: about 12 ms
TOKEN_STEPS = 4  # one token of a script, its part in a statement included
SCRIPT_STEPS = 24  # one script, beside its tokens
FORM_STEPS = 4  # one element, to find a form and its fields


class Steps:
    """A count that only falls. `exhausted`: something was refused."""

    __slots__ = ("exhausted", "left")

    def __init__(self, left: int = STEPS_MAX) -> None:
        self.left = left
        self.exhausted = False

    def take(self, count: int) -> bool:
        """Uses `count` steps; False, and nothing is used from then on, where so many are not left."""
        if self.exhausted or count > self.left:
            self.exhausted = True
            return False
        self.left -= count
        return True

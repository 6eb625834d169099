"""Rules that recognize answers which a gateway gives for itself, and say whose fault they are. Pure, but for one read.

A provider marks such answers with headers of its own, or has statuses of its own. The rules are data: `[[answers]]` of
providers.toml for every proxy, `[[TEMPLATE.answers]]` for a template's gateways, `[[providers.NAME.answers]]` of the
settings. The first rule that matches counts: those of the settings first, those for every proxy last.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from daemon.web.headers import RawHeaders, shown

Blame = Literal["ip", "credentials", "provider", "target", "operator"]

BODY_BYTES_MAX = 2_048  # of an answer, for the rules with `body`
_DETAIL_CHARACTERS_MAX = 120
_STATUS = re.compile(r"[1-9]([0-9]{2}|xx)")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+\*?")  # RFC 9110, 5.6.2; a * at the end stands for any ending


class OwnAnswer(NamedTuple):
    """A gateway's own answer. `blame`: None says that its status decides. `detail` is the gateway's reason, or ""."""

    blame: Blame | None
    detail: str


class AnswerRule(BaseModel):
    """One rule. An answer matches if all of the keys that are set match.

    `status`: `403` or a class such as `5xx`. `header`: a name, or its beginning with `*`. `value` and `body`: regular
    expressions, found anywhere in the header's value or in the first BODY_BYTES_MAX of the body, in either case. Bodies
    are read over plain http only. A rule with neither header nor body holds for answers to CONNECT only: over plain
    http its status may be the target's. `verdict`: "" lets the status decide. `source`: where the provider says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: tuple[str, ...] = ("4xx", "5xx")
    header: str = Field("", max_length=100)
    value: str = Field("", max_length=300)
    body: str = Field("", max_length=300)
    verdict: Blame | Literal[""] = ""
    source: str = Field("", max_length=300)

    @field_validator("status", mode="before")
    @classmethod
    def _are_statuses(cls, given: Any) -> Any:
        listed = given if isinstance(given, list | tuple) else [given]
        texts = tuple(str(status).lower() for status in listed)
        if not texts or not all(map(_STATUS.fullmatch, texts)):
            raise ValueError('must be statuses such as 403, or classes such as "5xx"')
        return texts

    @field_validator("header")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if name and not _HEADER.fullmatch(name):
            raise ValueError("must be the name of a response header such as x-error, or its beginning such as x-err*")
        return name.lower()

    @field_validator("value", "body")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"must be a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _recognizes_something(self) -> "AnswerRule":
        if self.value and not self.header:
            raise ValueError("value needs header: the name of the header whose value it is")
        if not (self.header or self.body or "status" in self.model_fields_set):
            raise ValueError("must have status, header or body")
        return self


class _Compiled:
    """A rule for answers that are met often."""

    __slots__ = ("blame", "body", "header", "is_beginning", "only_tunnels", "statuses", "value")

    def __init__(self, rule: AnswerRule) -> None:
        self.statuses = rule.status
        self.header = rule.header.rstrip("*").encode()
        self.is_beginning = rule.header.endswith("*")
        self.value = re.compile(rule.value.encode(), re.IGNORECASE)
        self.body = re.compile(rule.body.encode(), re.IGNORECASE) if rule.body else None
        self.only_tunnels = not (rule.header or rule.body)
        self.blame = rule.verdict or None

    def detail(self, headers: RawHeaders) -> str | None:
        """The value of the header that matches, "" for a rule without one, None if no header matches."""
        if not self.header:
            return ""
        for field, value in headers:
            name = field.lower()
            named = name.startswith(self.header) if self.is_beginning else name == self.header
            if named and self.value.search(value):
                return shown(value.decode("utf-8", "replace"))[:_DETAIL_CHARACTERS_MAX]
        return None


class AnswerRules:
    """The rules for the answers of one provider's proxies, in order. `is_gateway`: its IPs are sessions there."""

    def __init__(self, rules: Iterable[AnswerRule], *, is_gateway: bool = False) -> None:
        self.is_gateway = is_gateway
        self._rules = [_Compiled(rule) for rule in rules]
        self._by_status: dict[int, list[_Compiled]] = {}

    def matching(
        self, status: int, headers: RawHeaders, *, tunnel: bool = False, body: bytes | None = None
    ) -> OwnAnswer | None:
        """The gateway's own answer, or None. `tunnel`: an answer to CONNECT. `body`: what was read of it."""
        for rule in self._rules_for(status):
            if (rule.only_tunnels and not tunnel) or (detail := rule.detail(headers)) is None:
                continue
            if rule.body is None or (body is not None and rule.body.search(body)):
                return OwnAnswer(rule.blame, detail)
        return None

    def asks_for_body(self, status: int, headers: RawHeaders) -> bool:
        """Whether a rule needs the body of such an answer."""
        return any(rule.body and rule.detail(headers) is not None for rule in self._rules_for(status))

    def _rules_for(self, status: int) -> list[_Compiled]:
        """At most 900 lists, of a few rules each."""
        if (found := self._by_status.get(status)) is None:
            names = {str(status), f"{status // 100}xx"}
            found = self._by_status[status] = [rule for rule in self._rules if names & {*rule.statuses}]
        return found


@cache
def catalogue() -> Mapping[str, Any]:
    """providers.toml."""
    return tomllib.loads((files("daemon.providers") / "providers.toml").read_text("utf-8"))


@cache
def documented_rules(template: str) -> tuple[AnswerRule, ...]:
    """The rules of a template, and those for every proxy. `template`: "" for none."""
    given = [*catalogue().get(template, {}).get("answers", ()), *catalogue()["answers"]]
    return tuple(AnswerRule(**rule) for rule in given)


@cache
def rules_of(answers: tuple[AnswerRule, ...], template: str, *, is_gateway: bool) -> AnswerRules:
    """The rules `answers` of a section of the settings, before those of its template and those for every proxy."""
    return AnswerRules((*answers, *documented_rules(template)), is_gateway=is_gateway)


@cache
def rules_of_every_proxy() -> AnswerRules:
    return rules_of((), "", is_gateway=False)

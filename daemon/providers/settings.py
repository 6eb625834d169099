"""The settings `[providers.NAME]`: how to reach a provider's proxies. Pure."""

import re
import string
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator, model_validator

from daemon.errors import BadInput
from daemon.providers.answers import AnswerRule, AnswerRules, catalogue, rules_of, rules_of_every_proxy
from daemon.web.addresses import host_and_port
from daemon.web.endpoints import canonical_host, is_slot_number

Scheme = Literal["http", "https", "socks5"]

PLACEHOLDERS = ("username", "password", "country", "session", "lock_minutes", "fail_closed")
_ALLOWED = {"digits": r"[0-9]+", "alphanumeric": r"[A-Za-z0-9]+", "any": r"[A-Za-z0-9._-]+"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2


@cache
def templates() -> Mapping[str, Mapping[str, Any]]:
    """Template name → the values of the keys that a section does not set."""
    return {name: keys for name, keys in catalogue().items() if isinstance(keys, Mapping)}


class Provider(BaseModel):
    """One provider.

    `gateway`: `host:port`; empty: each row has its own. `session`: one for each row ("ip") or for each lease.
    `session_characters`: "any" means letters, digits, `.`, `_`, `-`. `exit_ip_header`: the response header that holds
    the exit IP. `price_per_gb`: US dollars for 10^9 bytes, both directions together. `answers`: rules that come before
    those of the template.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = ""
    username: str = Field("", max_length=1_024)
    password: SecretStr = SecretStr("")
    scheme: Scheme = "http"
    gateway: str = Field("", max_length=300)
    username_pattern: str = Field("{username}", max_length=1_024)
    password_pattern: str = Field("{password}", max_length=1_024)
    session: Literal["ip", "lease"] = "ip"
    session_characters: Literal["any", "alphanumeric", "digits"] = "any"
    session_length_min: int = Field(1, ge=1, le=64)
    session_length_max: int = Field(64, ge=1, le=64)
    country_case: Literal["lower", "upper"] = "lower"
    fail_closed: str = Field("", max_length=64)
    exit_ip_header: str = Field("", max_length=64)
    price_per_gb: float = Field(0, ge=0, le=1_000)
    answers: tuple[AnswerRule, ...] = Field((), max_length=100)
    _answer_rules: AnswerRules = PrivateAttr(default_factory=rules_of_every_proxy)

    @model_validator(mode="before")
    @classmethod
    def _fill_from_template(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        template = given.get("template")
        known = templates().get(template, {}) if isinstance(template, str) else {}
        return {**known, "answers": (), **given}  # the template's rules stay its own

    @field_validator("template")
    @classmethod
    def _is_known(cls, template: str) -> str:
        if template and template not in templates():
            raise ValueError(f"must be one of {', '.join(templates())}, or empty")
        return template

    @field_validator("username", "password", "username_pattern", "password_pattern", "fail_closed")
    @classmethod
    def _has_no_control_characters(cls, value: str | SecretStr) -> str | SecretStr:
        """RFC 7617, 2."""
        if _CONTROL.search(value if isinstance(value, str) else value.get_secret_value()):
            raise ValueError("must have no control characters")
        return value

    @field_validator("username", "username_pattern")
    @classmethod
    def _has_no_colon(cls, text: str) -> str:
        if ":" in text:
            raise ValueError("must have no colon: it would end the username")
        return text

    @field_validator("username_pattern", "password_pattern")
    @classmethod
    def _has_known_placeholders(cls, pattern: str) -> str:
        allowed = "allowed are " + ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        try:
            parts = list(string.Formatter().parse(pattern))
        except ValueError:
            raise ValueError(f"has a brace without its counterpart (a literal one is doubled); {allowed}") from None
        for _, name, spec, conversion in parts:
            if name is not None and (name not in PLACEHOLDERS or spec or conversion):
                shown = f"{{{name}}}" if re.fullmatch(r"[A-Za-z_]{1,32}", name) else "what stands in a pair of braces"
                raise ValueError(f"{shown} is no placeholder; {allowed}")
        return pattern

    @field_validator("password_pattern")
    @classmethod
    def _has_the_password(cls, pattern: str) -> str:
        if "{password}" not in pattern:
            raise ValueError("must hold {password}: the secret itself belongs into the key password")
        return pattern

    @field_validator("gateway")
    @classmethod
    def _is_host_and_port(cls, gateway: str) -> str:
        host, port = host_and_port(gateway.strip()) or ("", 0)
        try:
            is_endpoint = port > 0 and not is_slot_number(canonical_host(host))
        except BadInput:
            is_endpoint = False
        if gateway and not is_endpoint:
            raise ValueError("must be host:port such as gate.example:7000, or empty: then each row's own is dialled")
        return gateway.strip()

    @field_validator("exit_ip_header")
    @classmethod
    def _is_a_header(cls, name: str) -> str:
        if name and not _HEADER_NAME.fullmatch(name):
            raise ValueError("must be the name of a response header such as x-exit-ip, or empty")
        return name.lower()

    @model_validator(mode="after")
    def _is_whole(self) -> "Provider":
        if self.session_length_min > self.session_length_max:
            raise ValueError("session_length_min must not be above session_length_max")
        if self.gateway and not self.username and "{username}" in self.username_pattern + self.password_pattern:
            raise ValueError("username is empty, and the gateway's username_pattern needs it")
        self._answer_rules = rules_of(self.answers, self.template, is_gateway=bool(self.gateway))
        return self

    @property
    def answer_rules(self) -> AnswerRules:
        """All rules for the answers of this provider's proxies."""
        return self._answer_rules

    def allows_session(self, text: str) -> bool:
        """Whether the gateway accepts the text as a session."""
        fits = self.session_length_min <= len(text) <= self.session_length_max
        return fits and re.fullmatch(_ALLOWED[self.session_characters], text) is not None

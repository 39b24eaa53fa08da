"""Settings of a chat server that acts."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from videozoom.experiments.config_data import Count, CountOrZero, Positive, Section

UNDECIDING = frozenset({"base_url", "api_key_env", "timeout_s", "max_parallel", "retries"})
"""Settings that no reply depends on."""
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_OURS = frozenset({"model", "messages", "n", "stream"})
_SECRET = re.compile(r"api.?key|access.?token|secret|password|authorization", re.IGNORECASE)


class Endpoint(Section):
    """A chat server with the OpenAI interface that accepts images."""

    base_url: str
    """What stands before `/chat/completions`, for instance `http://127.0.0.1:8000/v1`."""
    model: Annotated[str, Field(min_length=1)]
    """What the server calls the model."""
    api_key_env: str | None = None
    """Environment variable, in capitals, that holds the key; the key itself stands in no configuration. null sends
    none."""
    timeout_s: Positive = 120.0
    """How long one request may take."""
    max_parallel: Count = 8
    """Most requests under way at once."""
    retries: CountOrZero = 5
    """How often a request is tried again after 429, 5xx, a timeout or a broken connection, with growing waits."""
    image_format: Literal["png", "jpeg", "webp"] = "png"
    """`png` shows every pixel as it is; `jpeg` and `webp` take about a tenth of the space."""
    image_detail: Literal["low", "high", "auto"] | None = None
    """Sent with each image where set."""
    time_tags: bool = True
    """Whether the time in seconds stands in text before each frame."""
    prefix: Literal["auto", "continue", "ask"] = "auto"
    """How words that a step forces on the model reach it: as the beginning of its reply, which the server continues, or
    asked for in text; `auto` finds out what the server accepts. Replies with and without them are read."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of each request; null leaves one of ours out, for instance `temperature`."""

    @field_validator("base_url")
    @classmethod
    def _check_address(cls, base_url: str) -> str:
        # What is wrong is told without the value: it may hold a password.
        try:
            parts = urlsplit(base_url)
            _ = parts.port
        except ValueError:
            raise ValueError("that is no address; give one like http://127.0.0.1:8000/v1") from None
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "an address has no user, password or question mark here; give the key in an environment variable, "
                "named by api_key_env"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("that is no address; give one like http://127.0.0.1:8000/v1")
        return base_url

    @field_validator("api_key_env")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE.fullmatch(name):
            raise ValueError(
                "give the name of the environment variable that holds the key, in capitals, not the key itself"
            )
        return name

    @model_validator(mode="after")
    def _check_extra(self) -> Self:
        for name in self.extra.keys() & _OURS:
            raise ValueError(f"extra cannot replace {name!r}")
        for name in _names(self.extra):
            if _SECRET.search(name):
                raise ValueError(f"extra is written into run folders and must not hold {name!r}; use api_key_env")
        return self


def _names(value: JsonValue) -> Iterator[str]:
    """Yield the names of all fields in `value`."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)

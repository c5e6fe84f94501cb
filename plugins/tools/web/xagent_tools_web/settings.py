"""What an operator can set: the table `[tools.web]` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from xagent_core.errors import ConfigError, InvalidRequestError
from xagent_core.types import parse_size

__all__ = ["WebSettings", "checked", "host_pattern"]

MOST_HEADER_BYTES: Final = 64 * 1024
"""httpcore gives up at 100 KiB of headers; a limit above that would not be the one that holds."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def host_pattern(text: str) -> str:
    """A host's name as it is compared: in lower case, in ASCII, without the final dot; `*.` in front is kept.

    Args:
        text: `example.com`, or `*.example.com` for every name below it.

    Returns:
        The name in the form in which the HTTP client has it.

    Raises:
        ValueError: It is not the name of a host.
    """
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text.strip("[]"))
    try:
        url = httpx.URL(f"http://[{name}]/" if ":" in name else f"http://{name}/")
    except httpx.InvalidURL as error:
        raise ValueError(f"{text!r} is not a host's name, such as example.com or *.example.com") from error
    host = url.raw_host.decode("ascii").rstrip(".")
    if not host or "*" in host or url.userinfo or url.port or url.path != "/":
        raise ValueError(f"{text!r} is not a host's name, such as example.com or *.example.com")
    return star + host


def _size(value: Any) -> Any:
    try:
        return parse_size(value) if isinstance(value, str) else value
    except InvalidRequestError as error:
        raise ValueError(error.cause) from error


Host = Annotated[str, AfterValidator(host_pattern)]
Network = IPv4Network | IPv6Network
M = TypeVar("M", bound=BaseModel)


class WebSettings(BaseModel):
    """What the web tools may reach, how much, how fast.

    Attributes:
        allow_hosts: Where not empty, only these hosts are reached.
        deny_hosts: These hosts, and all names below them, are never reached.
        allow_networks: Networks that are reached though they are not public: those of the operator's own services.
        deny_networks: Public networks that are never reached, such as the operator's own ones.
        ports: The ports that are reached.
        methods: What `http_request` may do.
        max_bytes: Of a response's body, as it comes and once more when it is unpacked: what is beyond is left away.
        max_header_bytes: Of a response's headers: beyond, the response is refused.
        timeout: Seconds for a whole call: waiting for its turn, name look-up, every redirect, the body.
        max_redirects: Redirects that are followed.
        rate: Requests a second to one host, over time.
        burst: Requests to one host that need not wait.
        robots: Whether pages that a site's robots.txt closes to robots are left alone.
        robots_exempt: Hosts whose robots.txt is not asked for.
        user_agent: How the tools introduce themselves; robots.txt is read for the part before the slash.
        cache: Bytes of the cache of responses, in memory; 0 for none.
        ca_file: Certificates of authorities to trust, in PEM, instead of the usual ones.
        dns64: Whether this machine reaches IPv4 through NAT64 (`64:ff9b::/96`): such an address is then judged by the
            IPv4 address inside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_hosts: tuple[Host, ...] = ()
    deny_hosts: tuple[Host, ...] = ()
    allow_networks: tuple[Network, ...] = ()
    deny_networks: tuple[Network, ...] = ()
    ports: frozenset[Annotated[int, Field(ge=1, le=65535)]] = Field(default=frozenset({80, 443}), min_length=1)
    methods: tuple[str, ...] = ("GET", "HEAD")
    max_bytes: Annotated[int, BeforeValidator(_size), Field(ge=1)] = 5 * 1024 * 1024
    max_header_bytes: Annotated[int, BeforeValidator(_size), Field(ge=256, le=MOST_HEADER_BYTES)] = 32 * 1024
    timeout: float = Field(default=30.0, gt=0, le=600)
    max_redirects: int = Field(default=5, ge=0, le=20)
    rate: float = Field(default=2.0, gt=0)
    burst: int = Field(default=5, ge=1)
    robots: bool = True
    robots_exempt: tuple[Host, ...] = ()
    user_agent: str = Field(default="xagent/0.1", pattern=r"^[\x21-\x7e][\x20-\x7e]*$")
    cache: Annotated[int, BeforeValidator(_size), Field(ge=0)] = 32 * 1024 * 1024
    ca_file: Path | None = None
    dns64: bool = False

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        wanted = tuple(method.upper() for method in methods)
        if unknown := set(wanted) - set(_METHODS):
            raise ValueError(f"{min(unknown)} is not one of {', '.join(_METHODS)}")
        return wanted

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Reads the options.

        Raises:
            ConfigError: One of them cannot be used; the error names it.
        """
        return checked(cls, options, "tools.web")


def checked(model: type[M], options: Mapping[str, Any], table: str) -> M:
    """A table of the configuration as a model.

    Raises:
        ConfigError: It does not fit; the error names the setting.
    """
    try:
        return model.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        known = ", ".join(sorted(model.model_fields))
        fix = f"Known are {known}." if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{table}.{name}", first["msg"], fix) from error

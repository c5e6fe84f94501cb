"""Which addresses of the web may be reached: those that are public, and those that the operator has added.

`ssrfguard` does the work: it reads URLs as a resolver would, looks each name up once, judges every address, and
connects to the address that it judged. What is added here makes the judgement narrower; see docs/tools-web.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from ssrfguard import BlockedAddressError, BlockedURLError, Observer, Policy, Target

from xagent_core.errors import ConfigError
from xagent_tools_web.settings import Network, WebSettings

__all__ = ["Reach", "matches", "reach_of"]

Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""All that IANA has ever given out for the public (RFC 4291, section 2.4); the rest is reserved."""

_WIRE_SERVER: Final = IPv4Address("168.63.129.16")
"""A public address by which a virtual machine in Azure reaches its host, and that host's secrets."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
"""The upper half of an interface identifier that carries an IPv4 address (RFC 5214, section 6.1)."""


def matches(host: str, patterns: Iterable[str], *, below: bool = False) -> bool:
    """Whether a host is among the patterns.

    Args:
        host: In the form of `settings.host_pattern`, but for a final dot.
        patterns: Names, and `*.` with a name for those below it.
        below: Whether a name means those below it, too.
    """
    name = host.lower().rstrip(".")
    for pattern in patterns:
        suffix = pattern.removeprefix("*.")
        if name == pattern or ((below or suffix != pattern) and name.endswith(f".{suffix}")):
            return True
    return False


@dataclass(frozen=True)
class Reach(Policy):
    """ssrfguard's policy, made narrower: no address in disguise, nothing that is merely not known to be private.

    Attributes:
        denied_hosts: These, and all below them, are refused.
        closed_networks: Networks that are refused though they are public.
        dns64: Whether an address behind NAT64 is judged by the IPv4 address inside, instead of being refused.
    """

    denied_hosts: tuple[str, ...] = ()
    closed_networks: tuple[Network, ...] = ()
    dns64: bool = False

    def check_url(self, url: str, *, observer: Observer | None = None) -> Target:
        """Judges a URL, as far as that goes without looking its name up."""
        target = super().check_url(url, observer=observer)
        self._check_not_denied(target.host)
        return target

    def check_host(self, host: str) -> None:
        """Judges a host by its name, right before it is looked up."""
        super().check_host(host)
        self._check_not_denied(host)

    def check_address(self, address: str | Address) -> None:
        """Judges an address, right before it is connected to.

        Raises:
            BlockedAddressError: It is not public, and the operator has not added it.
        """
        parsed = ip_address(address) if isinstance(address, str) else address
        if any(parsed in network for network in self.allowed_networks):
            return
        if reason := self._why_not(parsed):
            raise BlockedAddressError(str(parsed), reason)

    def _check_not_denied(self, host: str) -> None:
        if matches(host, self.denied_hosts, below=True):
            raise BlockedURLError(host, "the operator's deny-list has this host")

    def _why_not(self, address: Address) -> str:
        if any(address in network for network in self.closed_networks):
            return "it is in a network that the operator has closed"
        verdict = self.denied_networks.classify(address)
        if verdict.blocked:
            return verdict.reason
        if self.dns64 and address in _NAT64:
            return self._why_not(IPv4Address(int(address) & 0xFFFFFFFF))
        # An address that only carries a public one, and special addresses that IANA calls reachable: no site is there.
        if verdict.block is not None:
            return f"{verdict.block.network} is {verdict.block.name} ({verdict.block.rfc})"
        if isinstance(address, IPv6Address):
            if address not in _GLOBAL_UNICAST:
                return "it is outside 2000::/3, the public addresses (RFC4291)"
            if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
                return "it is an ISATAP address, which carries another one (RFC5214)"
        if address == _WIRE_SERVER:
            return "it is the metadata service of a cloud (Azure)"
        return "" if address.is_global else "it is not public"


def reach_of(settings: WebSettings) -> Reach:
    """What may be reached under these settings.

    Raises:
        ConfigError: A network to be allowed would let addresses in disguise through.
    """
    try:
        return Reach(
            allowed_hosts=frozenset(settings.allow_hosts),
            allowed_networks=settings.allow_networks,
            allowed_ports=settings.ports,
            denied_hosts=settings.deny_hosts,
            closed_networks=settings.deny_networks,
            dns64=settings.dns64,
        )
    except ValueError as error:
        raise ConfigError("tools.web.allow_networks", f"cannot be used: {error}") from error

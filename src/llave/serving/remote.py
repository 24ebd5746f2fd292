"""Pictures by address, from hosts that the operator named: the part of a server that is attacked most.

The address is taken apart once, strictly; its host must be on the list; it is resolved once, every address found must
be public, and the connection goes to the one that was checked, so that a second answer of the DNS changes nothing.
There are no redirects and no proxies of the environment. Bytes and seconds are bounded while they arrive.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from llave.errors import UserError
from llave.serving.errors import ApiError, bad_request

__all__ = ["AllowedHost", "Remote", "is_public", "parse_allowed", "resolve"]

MAX_URL = 2048
_CLEAN = re.compile(r"[!-~]+")  # visible ASCII: no white space, no control characters, no look-alikes
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that the internet routes to single machines: NAT64, unique local, site-local, discard-only, IPv4 within
IPv6 and what comes to be reserved later lie outside."""
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # protocol assignments
            "192.88.99.0/24",  # 6to4's relays
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address of any kind
            "3ffe::/16",  # 6bone, given back
            "3fff::/20",  # documentation
        ),
    )
)
"""Of IANA's special-purpose registries, where Python's own word depends on its version."""
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """A host that may be asked: https on its port, unless it was named with ``http://``."""

    scheme: str
    host: str
    port: int


def parse_allowed(names: Iterable[str]) -> frozenset[AllowedHost]:
    """Hosts as an operator writes them: ``images.example.org``, ``host:8443``, ``http://host``.

    Raises:
        UserError: a name that is none; patterns are not possible.
    """
    allowed = set()
    for name in names:
        scheme, _, rest = name.rpartition("://")
        host, _, port = rest.partition(":")
        if scheme not in {"", "https", "http"} or not _HOST.fullmatch(host) or (port and not port.isdigit()):
            raise UserError(f"allow_remote_from: {name!r} is not a host name (images.example.org or host:8443)")
        scheme = scheme or "https"
        allowed.add(AllowedHost(scheme, host, int(port or (443 if scheme == "https" else 80))))
    return frozenset(allowed)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host.

    Raises:
        OSError: it has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, in whatever form it hides a private one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None and parsed.scope_id is None:
            parsed = parsed.ipv4_mapped
        elif parsed.scope_id is not None or parsed not in _GLOBAL_UNICAST:
            return False
    if any(parsed in network for network in _SPECIAL if network.version == parsed.version):
        return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


class Remote:
    """Fetches from the hosts on a list.

    Args:
        allowed: the list.
        seconds: for one file, from the name to the last byte.
        resolver: finds a host's addresses.
        public: whether an address may be asked; tests allow their own machine here.
    """

    def __init__(
        self,
        allowed: frozenset[AllowedHost],
        *,
        seconds: float,
        resolver: Resolver = resolve,
        public: Callable[[str], bool] = is_public,
    ) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._resolver = resolver
        self._public = public
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=seconds,
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=0),  # a kept one knows one host's name
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def fetch(self, url: str, place: str, *, most: int) -> bytes:
        """The file at an address.

        Raises:
            ApiError: the address is not allowed, or the file did not come within the bounds.
        """
        target, path = self._parse(url, place)
        try:
            async with asyncio.timeout(self._seconds):
                addresses = await self._resolver(target.host, target.port)
                if not addresses or not all(self._public(address) for address in addresses):
                    raise bad_request("the host is not on the public internet", place, "remote_not_allowed")
                return await self._get(target, path, addresses[0], place, most)
        except TimeoutError:
            raise bad_request(f"not fetched within {self._seconds:g} s", place, "remote_failed") from None
        except ApiError:
            raise
        except Exception:  # whatever a resolver, TLS or the other side leads to
            raise bad_request("the file could not be fetched", place, "remote_failed") from None

    def _parse(self, url: str, place: str) -> tuple[AllowedHost, str]:
        refused = bad_request("this address is not allowed here", place, "remote_not_allowed")
        if len(url) > MAX_URL or not _CLEAN.fullmatch(url) or "\\" in url:
            raise refused
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise refused from None
        host = (parts.hostname or "").lower()
        if parts.scheme not in {"http", "https"} or "@" in parts.netloc or not _HOST.fullmatch(host):
            raise refused
        target = AllowedHost(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))
        if target not in self._allowed:
            raise refused
        return target, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    async def _get(self, target: AllowedHost, path: str, address: str, place: str, most: int) -> bytes:
        literal = f"[{address}]" if ":" in address else address
        default = target.port == (443 if target.scheme == "https" else 80)
        request = self._client.build_request(
            "GET",
            f"{target.scheme}://{literal}:{target.port}{path}",
            headers={"host": target.host if default else f"{target.host}:{target.port}", "accept-encoding": "identity"},
            extensions={"sni_hostname": target.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != 200:
                raise bad_request(f"the host answered {response.status_code}", place, "remote_failed")
            found = bytearray()
            async for chunk in response.aiter_raw():
                found += chunk
                if len(found) > most:
                    raise ApiError(413, f"the file has more than {most:,} bytes, the limit", param=place)
        finally:
            await response.aclose()
        return bytes(found)

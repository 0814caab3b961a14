"""Which proxy leads to an address: one answer for all clients here, whose HTTP libraries would differ in it."""

import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from rebase_hf.errors import TeacherRefused
from rebase_hf.teacher.target import is_loopback


def proxy_for(url: str) -> str | None:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for a URL; None where there is none.

    This machine is reached without one. A proxy without a scheme is an HTTP one, as everywhere else.

    Raises:
        TeacherRefused: It is none that speaks HTTP.
    """
    parts = urlsplit(url)
    host, netloc = parts.hostname or "", parts.netloc.rpartition("@")[2]
    if is_loopback(url) or proxy_bypass(host) or proxy_bypass(netloc):
        return None
    proxies = getproxies()
    scheme = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if scheme is None:
        return None
    proxy = proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
    if not _speaks_http(proxy):
        raise _refusal(scheme, proxy, f"the teacher at {parts.scheme}://{netloc}", f"NO_PROXY={host}")
    return proxy


def socks_refusal(what: str) -> TeacherRefused | None:
    """Return the error for `what` where a SOCKS proxy is named for anything, else None.

    huggingface_hub's own client does not start beside one, whatever is asked.
    """
    for scheme, proxy in getproxies().items():
        if scheme in ("http", "https", "all") and proxy.lower().startswith("socks"):
            return _refusal(scheme, proxy, what, "NO_PROXY=*")
    return None


def _speaks_http(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _refusal(scheme: str, proxy: str, what: str, without: str) -> TeacherRefused:
    # Its value is not shown: there may be a password in it.
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    variable = next((name for name in names if os.environ.get(name)), "set in the system")
    kind = "a SOCKS proxy" if proxy.lower().startswith("socks") else "not the address of an HTTP proxy"
    return TeacherRefused(
        f"The proxy for {what} ({variable}) is {kind}; expected an HTTP one, such as http://HOST:PORT. Name such a "
        f"proxy there, or go without one: {without}."
    )

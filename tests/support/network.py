"""No test reaches beyond this machine."""

import ipaddress
import socket
import sys

INTERNET = (socket.AF_INET, socket.AF_INET6)


class OutsideNetworkError(AssertionError):
    """A test was about to reach another machine."""


def close_outside_network() -> None:
    """
    Refuse, from now on and for the life of this process, to connect, send or look up anything but loopback.

    An audit hook sees what every library does through Python's sockets, however it imported them:
    https://docs.python.org/3/library/audit_events.html
    """
    sys.addaudithook(_refuse_outside)


def _refuse_outside(event: str, arguments: tuple[object, ...]) -> None:
    match event, arguments:
        case "socket.connect" | "socket.sendto" | "socket.sendmsg", (socket.socket() as end, (str(host), *_)):
            if end.family in INTERNET:
                _refuse_address(host)
        case "socket.getaddrinfo" | "socket.gethostbyname", (str() as host, *_):
            _refuse_name(host)
        case "socket.getaddrinfo", (bytes() as host, *_):
            _refuse_name(host.decode("ascii"))


def _refuse_address(host: str) -> None:
    if not _is_loopback(host):
        raise OutsideNetworkError(f"A test wanted to reach {host}; only 127.0.0.1 and ::1 are open to tests.")


def _refuse_name(host: str) -> None:
    """Names under `.invalid` exist nowhere, and every resolver says so (RFC 6761, section 6.4)."""
    if host.rstrip(".").endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if host and not _is_loopback(host) and not _is_numeric(host):
        raise OutsideNetworkError(f"A test wanted to look up {host}; use 127.0.0.1 or a name under .invalid.")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_numeric(host) and ipaddress.ip_address(host).is_loopback)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

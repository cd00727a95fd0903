"""No test reaches beyond this machine."""

import ipaddress
import socket
from collections.abc import Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

INTERNET = (socket.AF_INET, socket.AF_INET6)


class OutsideNetworkError(AssertionError):
    """A test was about to reach another machine."""


def close_outside_network() -> None:
    """
    Refuse, from now on and for the life of this process, to connect, send or look up anything but loopback.

    Python's own sockets are replaced. An audit hook would see more, but before Python 3.12 it lets another
    thread run while one installs coverage's trace function, and that thread then dies:
    https://github.com/python/cpython/issues/98257
    """
    methods = ("connect", "connect_ex", "sendto", "sendmsg")
    for method in filter(partial(hasattr, socket.socket), methods):  # Windows has no sendmsg
        setattr(socket.socket, method, _checked(getattr(socket.socket, method), _check_address))
    for function in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, function, _checked(getattr(socket, function), _check_name))


def _checked(function: Callable[P, R], check: Callable[..., None]) -> Callable[P, R]:
    @wraps(function)
    def checked(*arguments: P.args, **named: P.kwargs) -> R:
        check(*arguments)
        return function(*arguments, **named)

    return checked


def _check_address(end: socket.socket, *arguments: object) -> None:
    """The address is the last argument of each method, or missing in `sendmsg` of a connected socket."""
    match arguments:
        case (*_, (str(host), *_)) if end.family in INTERNET:
            _refuse_address(host)


def _check_name(host: object, *_: object) -> None:
    if isinstance(host, (str, bytes)):
        _refuse_name(host if isinstance(host, str) else host.decode("ascii"))


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

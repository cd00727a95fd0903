"""
The core library: sends the texts of InvestorFuse IF3 (Carrot CRM) through CallRail.

Importing it costs next to nothing: each name is loaded when it's first used. ``docs/reference/library.md``
describes them, with examples.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callrail_relay.callrail.client import CallRail
    from callrail_relay.domain.mapper import MappedText, map_payload, map_webhook
    from callrail_relay.domain.message import Reason
    from callrail_relay.domain.outcome import NotSent as NotSent
    from callrail_relay.domain.outcome import Outcome
    from callrail_relay.domain.outcome import RateLimited as RateLimited
    from callrail_relay.domain.outcome import Rejected as Rejected
    from callrail_relay.domain.outcome import Sent as Sent
    from callrail_relay.domain.outcome import Unknown as Unknown
    from callrail_relay.domain.routing import Route, RouteRule, Routes
    from callrail_relay.domain.segmentation import split_text

__version__ = "0.2.0"

__all__ = [
    "CallRail",
    "MappedText",
    "Outcome",
    "Reason",
    "Route",
    "RouteRule",
    "Routes",
    "__version__",
    "map_payload",
    "map_webhook",
    "split_text",
]

_HOMES = {
    "CallRail": "callrail.client",
    "MappedText": "domain.mapper",
    "map_payload": "domain.mapper",
    "map_webhook": "domain.mapper",
    "Reason": "domain.message",
    "Route": "domain.routing",
    "RouteRule": "domain.routing",
    "Routes": "domain.routing",
    "split_text": "domain.segmentation",
    # `Outcome` is any of the next five; a program that distinguishes them needs their names.
    **dict.fromkeys(("Outcome", "Sent", "NotSent", "Rejected", "RateLimited", "Unknown"), "domain.outcome"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

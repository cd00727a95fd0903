"""
A CallRail of our own: what its API v3 answers, remembers and gets wrong, as an ASGI app.

``records`` are the things CallRail knows and ``state`` keeps them; ``numbers``,
``dates`` and ``paging`` read what a request asks for; ``sending`` decides about
one text and ``limits`` counts it; ``shapes`` writes records as CallRail's JSON,
and ``webhooks`` tells of them;
``api`` holds the routes. ``faults`` says what shall go wrong, ``connection``
makes it go wrong, ``control`` holds the routes under /sandbox and ``transport``
lets httpx call it all without a socket.

CallRail has no sandbox, so the facts come from its documentation and from what
was seen of the live API. Where neither says anything the simulator takes the
stricter side, so that whatever passes here has not relied on luck.
"""

from callrail_relay.callrail.simulator.app import create_app
from callrail_relay.callrail.simulator.connection import InProcessTransport
from callrail_relay.callrail.simulator.faults import Fault, Kind, load_faults
from callrail_relay.callrail.simulator.records import Account, Company, Conversation, Message, Text, Tracker
from callrail_relay.callrail.simulator.state import Simulator
from callrail_relay.callrail.simulator.webhooks import Manner

__all__ = [
    "Account",
    "Company",
    "Conversation",
    "Fault",
    "InProcessTransport",
    "Kind",
    "Manner",
    "Message",
    "Simulator",
    "Text",
    "Tracker",
    "create_app",
    "load_faults",
]

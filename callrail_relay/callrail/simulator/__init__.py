"""
A CallRail of our own: what its API v3 answers, remembers and gets wrong, as an ASGI app.

``records`` are the things CallRail knows and ``state`` keeps them. ``request`` reads what a request
asks for, ``api`` answers it, ``sending`` takes or refuses one text, ``shapes`` writes records as
CallRail's JSON, and ``webhooks`` posts them. ``faults`` says what goes wrong and ``connection`` makes
it go wrong; ``app`` holds it all, with the routes under /sandbox.

CallRail has no sandbox, so the facts come from its documentation and from what was seen of the live
API. If neither says anything the simulator takes the stricter side, so that whatever passes here has
not relied on luck.
"""

from callrail_relay.callrail.simulator.app import create_app
from callrail_relay.callrail.simulator.faults import Fault, Kind, load_faults
from callrail_relay.callrail.simulator.state import Simulator
from callrail_relay.callrail.simulator.webhooks import Manner

__all__ = ["Fault", "Kind", "Manner", "Simulator", "create_app", "load_faults"]

"""
A simulated CallRail: what its API v3 answers, remembers and gets wrong, as an ASGI app.

CallRail has no sandbox, so the facts come from its documentation and from answers of the live API. Where
neither says anything, the simulator is strict.
"""

from callrail_relay.callrail.simulator.api import create_app
from callrail_relay.callrail.simulator.faults import Fault, Kind, load_faults
from callrail_relay.callrail.simulator.state import Simulator
from callrail_relay.callrail.simulator.webhooks import Manner

__all__ = ["Fault", "Kind", "Manner", "Simulator", "create_app", "load_faults"]

"""
The commands: each in its own file, reading input, calling a service, and
showing the result. ``commands`` gathers them.
"""

from callrail_relay.cli.commands import app, main

__all__ = ["app", "main"]

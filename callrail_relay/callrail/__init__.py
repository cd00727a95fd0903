"""
CallRail: ``client`` talks to it, ``wire`` alone knows its field names,
``signature`` checks its webhooks, ``simulator`` stands in for it.
"""

from callrail_relay.lean import left_out

# httpx's own command line comes with all of Rich and Pygments: 5 MB, and a tenth of a second of every start.
with left_out("httpx._main"):
    import httpx  # noqa: F401 - so that whoever imports it below this package has it that way

"""
CallRail: ``client`` talks to it, ``wire`` alone knows its field names,
``signature`` checks its webhooks, ``simulator`` stands in for it.
"""

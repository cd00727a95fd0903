"""
The two listeners: ``public`` takes webhooks, ``private`` shows how all stands,
``listener`` serves an app on a port.
"""

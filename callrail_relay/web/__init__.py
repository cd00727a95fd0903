"""The two listeners: ``public`` takes webhooks, ``private`` has the dashboard and metrics."""

"""Tells what happens: logs, metrics, and alerts to the owner."""

"""CallRail: ``client`` talks to it, ``wire`` has its names, ``webhooks`` reads what it posts; a simulator."""

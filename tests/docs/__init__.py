"""The documentation: what is generated is up to date, what can be run is run, and no link leads nowhere."""

"""
Puts the concrete pieces together: the only package that knows them all.

``installation`` is what a run stands on, ``relay`` the services on an open store,
``listeners`` the two ways in by HTTP, ``sandbox`` the simulator, ``tokens`` the
webhook's secret, ``diagnosis`` the checks, ``setup`` what the wizard keeps. Each
command imports what it needs and starts no slower for the rest.
"""

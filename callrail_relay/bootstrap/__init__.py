"""
Puts the concrete pieces together: the only package that knows them all.

``context`` holds settings, secrets and policies, ``wiring`` builds the services on an open store,
``listeners`` the two HTTP servers, ``sandbox`` the simulator, ``credentials`` the webhook secret and the
signing keys, ``diagnosis`` the checks, ``setup`` what the wizard saves. Each command imports what it needs.
"""

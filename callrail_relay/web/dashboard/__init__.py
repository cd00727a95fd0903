"""The dashboard's pages: ``frame`` is what they share, ``actions`` does what a person decides."""

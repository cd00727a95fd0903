"""Puts the concrete parts together: the only package that knows them all."""

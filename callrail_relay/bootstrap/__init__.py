"""Puts the concrete pieces together: the only package that knows them all."""

"""Certificates that are read once for a process: each client of httpx2 reads all that this computer has."""

import functools
import os
import ssl

import httpcore2


def keep_certificates() -> None:
    """Read them once for each place that the environment names: that takes longer than most requests."""
    read = httpcore2.default_ssl_context

    @functools.cache
    def read_once(trust_env: bool, *_places: str | None) -> ssl.SSLContext:  # noqa: FBT001 - as httpcore2 has it
        return read(_trust_env=trust_env)

    def kept(*, _trust_env: bool = True) -> ssl.SSLContext:
        return read_once(_trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))

    httpcore2.default_ssl_context = kept

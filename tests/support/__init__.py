"""What many tests need: programs of the system, a PostgreSQL, a closed network, a clean environment."""

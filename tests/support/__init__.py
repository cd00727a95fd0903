"""What many tests stand on: programs of the system, a PostgreSQL, a closed network, a clean environment."""

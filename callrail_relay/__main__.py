"""``python -m callrail_relay`` is the command ``callrail-relay``."""

from callrail_relay.cli import main

if __name__ == "__main__":
    main()

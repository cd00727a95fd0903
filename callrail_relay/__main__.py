"""``python -m callrail_relay`` is the command ``callrail-relay``."""

import sys

from callrail_relay.cli import main

if __name__ == "__main__":
    sys.exit(main())

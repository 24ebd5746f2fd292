"""``python -m llave``: the same as ``llave``."""

import sys

from llave.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m tsar.cli``: the program ``tsar`` without its entry point, for launchers of several processes."""

import sys

from tsar.cli import main

if __name__ == "__main__":
    sys.exit(main())

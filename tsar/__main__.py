"""``python -m tsar``: the program ``tsar``, where its folder is not on the path."""

import sys

from tsar.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python tests/fuzz``: see `engine`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)  # it was this directory

from fuzz.engine import main  # noqa: E402 - see above

main()

from __future__ import annotations

import sys
from pathlib import Path

from lilong.floors.compute.supervisor.watch import supervise

if __name__ == "__main__":
    supervise(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)

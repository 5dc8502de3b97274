from __future__ import annotations

import argparse
import os
from pathlib import Path

from lilong.floors.compute.supervisor.watch import supervise

if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="supervisor", description="Guard one attempt, or one rank of it.")
    options.add_argument("folder", type=Path)
    options.add_argument("--rank", type=int, help="which rank of a gang; default: all that the order asks for")
    options.add_argument("--host", help="this node's name, where it is not the machine's")
    options.add_argument("--address", help="where other nodes reach this one")
    options.add_argument("--lock", type=int, help="the descriptor of the folder's lock, already held")
    options.add_argument("--secrets", type=int, help="a descriptor that holds the secrets as JSON")
    given = options.parse_args()
    os.umask(0o022)
    supervise(given.folder, rank=given.rank, lock=given.lock, secrets=given.secrets, host=given.host, address=given.address)

"""`python -m lilong` is the command `lilong`."""

from .cli import main

main()

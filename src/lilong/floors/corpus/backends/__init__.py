"""Where texts come from, one module per kind: Debian packages, a folder of the user's own, the installed Python packages."""

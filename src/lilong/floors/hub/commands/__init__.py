"""The hub on the command line."""

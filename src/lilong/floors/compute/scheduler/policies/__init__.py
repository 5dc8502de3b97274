"""The policies that ship, one a file; the name of a policy is what `--policy` takes."""

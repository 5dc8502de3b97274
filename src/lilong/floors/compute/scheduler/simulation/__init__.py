"""The scheduler over a virtual clock."""

"""Running the house: accounts, status, server, backup; and the doors to its evidence."""

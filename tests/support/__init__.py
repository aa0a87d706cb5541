"""Real parts for tests: the go command, Git repositories with fixed dates, servers on loopback."""

"""Facts: each reads one whole subsystem in one command, and says "absent" on a host that has nothing yet."""

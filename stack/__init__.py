"""The embedded stack: everything Relevo needs, on one machine, on loopback."""

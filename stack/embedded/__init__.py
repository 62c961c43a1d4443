"""The embedded stack: its parts, where their files are, how they start, and whether they answer."""

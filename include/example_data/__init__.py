"""Real records to try Relevo on, and how they land on the store quarter by quarter."""

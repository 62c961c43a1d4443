"""A first pipeline from a look at the data: everything it proposes is for a person to review."""

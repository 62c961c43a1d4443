"""Visit every part of a deployment, try what Relevo needs of it, and say what to do."""

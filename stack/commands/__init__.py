"""The commands of `./relevo`, one module a command; each imports heavy libraries when it runs."""

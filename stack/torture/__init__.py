"""The fault harness: worlds of a tiny pipeline, faults from outside, and what must hold after."""

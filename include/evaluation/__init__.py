"""How good scores are, how sure that is, and whether a challenger takes the baton.

Pure functions of arrays and evidence, for training, monitoring and reports; no I/O.
"""

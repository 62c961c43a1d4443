"""What one operator calls, in the order of the DAGs: preparation, training, monitoring.

Operators and local runs import from here; a step reads and writes, and lets other rooms decide.
"""

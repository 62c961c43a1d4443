"""From landed files or a query to one checked Arrow table, every cell read as one type.

Steps take ``landed_batch.read_landed``; development takes ``landing`` and the readers of files.
"""

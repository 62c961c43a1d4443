"""Where things are kept: the object store, Delta tables, the ledger, and how they are reached.

Rooms above take ``lake_tables.Lake``, ``object_store.ObjectStore``, ``ledger`` and ``settings``;
nothing here knows what a row means.
"""

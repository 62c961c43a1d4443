"""One operator per box of the two DAGs; hand-written DAGs can use them as well."""

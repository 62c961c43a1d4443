"""The Airflow layer of Relevo: the factory of DAGs, operators, hooks, links and assets."""

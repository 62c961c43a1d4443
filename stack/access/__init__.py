"""Who may do what: roles and first users of Airflow and MLflow, set up by init jobs."""

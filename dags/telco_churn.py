"""Telco churn: the chance that a customer leaves within the month.

Declares the Airflow DAGs telco_churn_score and telco_churn_train from
include/pipelines/telco_churn.yaml.
"""

from relevo.dags import declare

declare("telco_churn")

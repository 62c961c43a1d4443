"""Loan default: the chance that a guaranteed loan is charged off within 24 months.

Declares the Airflow DAGs loan_default_score and loan_default_train from
include/pipelines/loan_default.yaml.
"""

from relevo.dags import declare

declare("loan_default")

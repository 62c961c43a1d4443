"""South German credit: the chance that a consumer credit is not paid back as agreed.

Declares the Airflow DAGs south_german_credit_score and south_german_credit_train from
include/pipelines/south_german_credit.yaml.
"""

from relevo.dags import declare

declare("south_german_credit")

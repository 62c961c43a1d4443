"""Trip duration: the minutes that a New York taxi trip takes, told when it begins.

Declares the Airflow DAGs trip_duration_score and trip_duration_train from
include/pipelines/trip_duration.yaml.
"""

from relevo.dags import declare

declare("trip_duration")

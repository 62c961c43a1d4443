"""Rodent species: which species an animal caught at the Portal field site belongs to.

Declares the Airflow DAGs rodent_species_score and rodent_species_train from
include/pipelines/rodent_species.yaml.
"""

from relevo.dags import declare

declare("rodent_species")

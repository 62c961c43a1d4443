#!/bin/sh
# One part of the Spark cluster in the foreground: spark.sh master | worker | connect.
# Its settings, with the secret that the parts know each other by, are in /run/secrets.
set -eu
SPARK_HOME=$(python -c 'import importlib.util as u; print(*u.find_spec("pyspark").submodule_search_locations)')
export SPARK_HOME SPARK_CONF_DIR=/run/secrets SPARK_LOCAL_DIRS=/tmp/spark
case $1 in
master)
    exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master \
        --host spark-master --port 7077
    ;;
worker)
    exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker \
        --host "$(hostname)" --work-dir /tmp/spark-work spark://spark-master:7077
    ;;
connect)
    exec "$SPARK_HOME/bin/spark-submit" \
        --class org.apache.spark.sql.connect.service.SparkConnectServer --name relevo
    ;;
*)
    echo "spark.sh: name master, worker or connect" >&2
    exit 2
    ;;
esac

#!/bin/sh
# One part of the Spark cluster in the foreground: spark.sh master | worker | connect.
# Its settings, with the secret of the cluster, are in a private file.
set -eu
SPARK_HOME=$(python -c 'import importlib.util as u; print(*u.find_spec("pyspark").submodule_search_locations)')
export SPARK_HOME SPARK_NO_DAEMONIZE=1 SPARK_CONF_DIR=/run/secrets SPARK_LOCAL_DIRS=/tmp/spark
master=spark://spark-master:7077
case $1 in
master)
    exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master \
        --host spark-master --port 7077 --properties-file /run/secrets/spark-defaults.conf
    ;;
worker)
    exec "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker \
        --work-dir /tmp/spark-work --properties-file /run/secrets/spark-defaults.conf "$master"
    ;;
connect)
    exec "$SPARK_HOME/bin/spark-submit" \
        --class org.apache.spark.sql.connect.service.SparkConnectServer \
        --name relevo --master "$master" --properties-file /run/secrets/spark-defaults.conf
    ;;
esac

"""Spark Structured Streaming, all that is there in batches of 100,000: ``job.py SERVERS TOPIC COUNT FOLDER``."""

import json
import subprocess
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, sha2

servers, topic, count, folder = sys.argv[1:]
here = Path(__file__).parent
jars = Path(sys.prefix) / "kafka-jars"
if not jars.exists():
    draft = jars.with_suffix(".part")
    copy = [
        "mvn",
        "-q",
        "-B",
        "-f",
        str(here / "pom.xml"),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={draft}",
    ]
    copy += ["-DincludeScope=runtime", "-DexcludeArtifactIds=hadoop-client-api,hadoop-client-runtime"]
    subprocess.run(copy, check=True, stdout=sys.stderr)  # colour codes of its own would stand before the figures
    draft.rename(jars)
wanted = ("spark-sql-kafka", "spark-token-provider", "kafka-clients", "commons-pool2")
paths = ",".join(str(path) for path in jars.glob("*.jar") if path.name.startswith(wanted))
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", paths)
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
stream = spark.readStream.format("kafka").option("kafka.bootstrap.servers", servers).option("subscribe", topic)
stream = stream.option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", 100_000).load()
rows = stream.select("partition", "offset", sha2(col("value"), 256).alias("digest"))
started = time.perf_counter()
query = rows.writeStream.format("parquet").option("path", folder).option("checkpointLocation", f"{folder}-checkpoint")
query.trigger(availableNow=True).start().awaitTermination()
seconds = time.perf_counter() - started
done = spark.read.parquet(folder).count()
assert done == int(count), done
print(json.dumps({"records": done, "seconds": seconds}))

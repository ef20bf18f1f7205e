"""What Grafana and Prometheus are given: dashboards, alert rules, provisioning.

`python -m grafana.build` writes the JSON and YAML files from the modules here, which take every metric's name from
`stream_infer.telemetry.metrics`. The files are committed: who uses them needs no Python.
"""

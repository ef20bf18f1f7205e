"""Files for Grafana and Prometheus: dashboards, alert rules, provisioning.

`python -m grafana.build` writes the JSON and YAML files from the modules here, which take every metric's name from
`stream_infer.telemetry.metrics`. The files are committed, so their users need no Python.
"""

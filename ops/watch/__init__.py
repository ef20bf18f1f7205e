"""The operator's view: one snapshot of the service, the doctor that examines it, and the terminal that shows it.

Nothing here changes the pipeline. The page and the API of `stream_infer.ops.service` show the same snapshot.
"""

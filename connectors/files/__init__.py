"""Objects of buckets and files of folders."""

"""Bytes to records, one file a format. The table of formats is `decode.formats`."""

"""The decoders from bytes to records, one file for each format. The table of formats is `decode.formats`."""

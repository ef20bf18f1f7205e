"""The documentation, and the programs that write its generated pages. Not part of the installed package."""

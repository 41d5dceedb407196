"""The command line, the pipeline over the notebooks, the report page, and serving."""

"""Arms on test windows: rows, verdict, table, page."""

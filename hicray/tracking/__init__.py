"""MLflow: the store, what waits to be sent, logged networks."""

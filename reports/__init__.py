"""Tables and figures from what MLflow holds; trains nothing."""

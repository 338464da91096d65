"""Errors, files, locks and YAML: what every package uses."""

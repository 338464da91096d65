"""Ablations as YAML, and what runs, records and tracks them."""

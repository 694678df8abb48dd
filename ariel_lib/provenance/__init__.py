"""Provenance of runs: manifests, log and summary, progress files, MLflow."""

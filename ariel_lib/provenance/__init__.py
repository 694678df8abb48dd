"""What a run was made of and what it made: manifests, progress files, MLflow."""

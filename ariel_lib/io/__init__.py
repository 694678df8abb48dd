"""Files: Kaggle's data layout in and out, light curves, submissions, checksums, lakeFS."""

"""Input and output: Kaggle's data layout, light curves, submissions, atomic storage, checksums, lakeFS."""

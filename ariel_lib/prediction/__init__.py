"""A checkpoint and a data set to a complete, valid submission, and its export."""

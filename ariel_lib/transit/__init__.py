"""Light curves to transit depths: the physical estimate and its covariance."""

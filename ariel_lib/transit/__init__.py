"""Transit fits: from calibrated light curves to transit depths and their covariance."""

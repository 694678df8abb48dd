"""What the fits of many planets teach about the fit of one."""

"""One file for each command of `ttsr`."""

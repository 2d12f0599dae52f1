"""Read measurements and coefficients from files of other tools."""

"""Pure computation on measurements: no files, no clock, no network."""

"""What surrounds a build: sidecars, agreement of files with parameters, provenance, DVC, reproduction."""

"""What continuous integration reads: one file per service or format."""

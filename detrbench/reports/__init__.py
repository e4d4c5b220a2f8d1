"""The only truth on disk: a report, its metrics, what one row says of another."""

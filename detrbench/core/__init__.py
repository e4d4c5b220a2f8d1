"""What everything else stands on: errors, units, statistics, files."""

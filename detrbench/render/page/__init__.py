"""What the HTML page says beyond the tables that all formats share, and its template."""

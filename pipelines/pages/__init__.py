"""HTML pages and the pictures on them: charts, contact sheets, galleries."""

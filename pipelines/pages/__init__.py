"""HTML pages and their pictures: charts, mask sheets and ranked galleries."""

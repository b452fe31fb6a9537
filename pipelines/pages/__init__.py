"""HTML pages and their pictures: charts, mask sheets and ranked galleries."""

import logging

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home without a place for its cache of fonts

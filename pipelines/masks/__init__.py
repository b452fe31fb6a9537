"""`cscl masks`: looking at mask caches, checking, importing and exporting them."""

"""Show, verify, import, export, compare and score mask caches (`cscl masks`)."""

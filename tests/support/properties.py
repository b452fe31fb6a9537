"""Settings and strategies of the property tests: the same inputs in every run, and the odd names that people have."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TRIED = settings(
    derandomize=True, database=None, deadline=2000, max_examples=100, suppress_health_check=list(HealthCheck)
)
"""For every property test; `TRIED` again with another number of examples where one takes long."""

ODD_PIECES = (
    "", ".", "..", "...", "..a", ".a", "a.", "a ", " a", "~", "-x", "C:", "c:x", "\\", "\\\\host", "a\\..\\b", "/",
    "//", "\0", "\n", "\t", "\r", "\u202e", "\ufeff", "\ud800", "\udcff", "\u0041\u030a", "\u00c5", "\u212b", "A", "a",
    "ß", "ss", "İ", "con", "nul.jpg", "a" * 255, "é" * 200, "a:b", "*", "{stem}", "{dir}", "%s", "0001", "cam1",
    "x.jpg", "x.JPG", "x.png", "x.tar.gz",
)  # fmt: skip
names = st.one_of(
    st.lists(st.sampled_from(ODD_PIECES), min_size=1, max_size=5).map("/".join),
    st.lists(st.sampled_from(ODD_PIECES), min_size=1, max_size=3).map("".join),
    st.text(st.characters(), max_size=30),
)
"""Names of images as a file or a program may give them, most of them no path below a folder."""

"""One reader per data set: its folders, its identities and cameras, its protocols."""

READERS = {
    "sysu": "SYSU", "regdb": "RegDB", "llcm": "LLCM", "hitsz": "HITSZ", "buptcampus": "BUPTCampus", "folder": "Folder",
}  # fmt: skip
"""The class of each data set, in the module of its name; imported on use, so that a command line lists names fast."""

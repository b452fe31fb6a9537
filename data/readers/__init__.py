"""One reader per data set: its folders, its identities and cameras, its protocols."""

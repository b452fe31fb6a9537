"""The CSCL network and its losses: tensors in, tensors out; no file is opened here."""

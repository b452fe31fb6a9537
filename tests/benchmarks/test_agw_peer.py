"""Our `agw` against the code that its authors published; needs a checkout of it, named by CSCL_AGW_PEER."""

import json
import os
import subprocess
import sys

import pytest
from support.places import ROOT

PEER = os.environ.get("CSCL_AGW_PEER")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PEER is None, reason="CSCL_AGW_PEER names no checkout of mangye16/Cross-Modal-Re-ID-baseline"),
]


def test_the_recipe_as_it_is_shipped_computes_what_theirs_does_and_is_built_like_it() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/agw_peer.py"), "--peer", str(PEER), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert [row for row in report["rows"] if row["difference"] >= row["tolerance"]] == []
    built = {what: (theirs, ours) for what, theirs, ours in report["settings"]}
    assert built["inner channels of a non-local block of 512"] == ("1", "1")
    assert built["trained in this one alone"] == ("none", "none")
    assert built["smoothing of the identity labels"] == ("0", "0")
    assert report["passed"]

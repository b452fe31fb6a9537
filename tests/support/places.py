"""Folders that tests read: the checkout, its reference answers, and the photographs that a user's clone lacks."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORACLES = ROOT / "tests" / "oracles"
SHARED = ROOT.parent / "shared"

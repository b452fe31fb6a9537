"""Where the checkout is, and the folder beside it of photographs and reference answers; a user's clone lacks it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
ORACLES = SHARED / "oracles"

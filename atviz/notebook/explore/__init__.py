"""One image, a few networks and distortions: what a slider shows, what a saved figure shows and what a sweep measures, from one place."""

from .recordings import AttackedChain, copied, fingerprints, measure, recorded
from .shown import caption, code, figure, parting, row, words
from .state import MAPS, State, keep_upload, rows, says_a_state, uploads
from .view import CHUNK, Chain, View, active, attack, check, explore, original, refine

__all__ = [
    "CHUNK", "MAPS", "AttackedChain", "Chain", "State", "View", "active", "attack", "caption", "check", "code", "copied", "explore", "figure",
    "fingerprints", "keep_upload", "measure", "original", "parting", "recorded", "refine", "row", "rows", "says_a_state", "uploads", "words",
]  # fmt: skip

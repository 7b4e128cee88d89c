"""Tags that give submissions a role: the reference of scores, or a family from which targets are made."""

from __future__ import annotations

#: Tag of references that calibration tunes to make targets.
FAMILY_TAG = "family"
#: Tag of submissions that may be the reference of scores.
REFERENCE_TAG = "reference"

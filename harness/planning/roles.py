"""Tags that give submissions a role in scoring or calibration."""

from __future__ import annotations

#: Tag of the submissions that calibration tunes to determine targets. There is one such submission in each family.
FAMILY_TAG = "family"
#: Tag of the submissions that may be the reference. Anchored scores are relative to the times of the reference.
REFERENCE_TAG = "reference"

"""Tags that give submissions a role in scoring or calibration."""

from __future__ import annotations

#: Tag of the submissions that calibration tunes to determine targets: one submission from each family of methods.
FAMILY_TAG = "family"
#: Tag of the submissions that may serve as the reference. Anchored scores are relative to the reference's times.
REFERENCE_TAG = "reference"

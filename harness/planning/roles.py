"""Tags that give submissions a role: reference for scores, or member of a family that calibration tunes."""

from __future__ import annotations

#: Tag of the references that calibration tunes in order to determine targets, one submission per family.
FAMILY_TAG = "family"
#: Tag of the submissions to whose times scores may be relative.
REFERENCE_TAG = "reference"

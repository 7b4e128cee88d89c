"""Tags by which submissions take a role: the reference of scores, the families that targets come from."""

from __future__ import annotations

#: Submissions with this tag are references that targets may come from.
FAMILY_TAG = "family"
#: Submissions that carry this tag anchor the scores.
REFERENCE_TAG = "reference"

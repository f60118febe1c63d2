"""Static files with their content's hash in the name."""

from __future__ import annotations

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class HashedStorage(ManifestStaticFilesStorage):
    """Leaves `sourceMappingURL` comments alone: Tabler's files name source maps that its package leaves out."""

    manifest_strict = False
    patterns = tuple(
        (glob, tuple(rule for rule in rules if "sourceMappingURL" not in str(rule)))
        for glob, rules in ManifestStaticFilesStorage.patterns
    )

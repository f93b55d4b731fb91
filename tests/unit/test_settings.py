"""Settings come from the environment, once, and say which variable is wrong."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from nasoa_operator.settings import Settings, SettingsError


def test_an_empty_environment_gives_the_defaults():
    settings = Settings.from_environment({"NASOA_S3_ENDPOINT": "", "PATH": "/bin"})
    assert (settings.system_bucket, settings.s3_endpoint, settings.backoff_limit_per_index) == ("nasoa-system", None, 3)


def test_names_are_separated_by_commas():
    settings = Settings.from_environment({"NASOA_SEARCH_NAMESPACES": "team-a, team-b,"})
    assert settings.search_namespaces == ("team-a", "team-b")


def test_a_wrong_value_is_named_by_its_variable():
    with pytest.raises(SettingsError, match=r"NASOA_RESYNC_SECONDS: .*greater than 0, not '-1'"):
        Settings.from_environment({"NASOA_RESYNC_SECONDS": "-1"})


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().workers = 2

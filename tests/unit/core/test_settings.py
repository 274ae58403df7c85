from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from splitrig.core.settings import Settings


def test_every_setting_has_a_title_and_a_help_text() -> None:
    for name, field in Settings.model_fields.items():
        section = getattr(Settings(), name)
        if not isinstance(section, BaseModel):
            continue
        assert field.title, name
        for key, setting in type(section).model_fields.items():
            assert setting.title, f"{name}.{key}"
            assert setting.description, f"{name}.{key}"


def test_a_recent_model_moves_to_the_front_and_the_list_stays_short() -> None:
    settings = Settings()
    for number in range(12):
        settings = settings.with_recent(Path(f"m{number}.gguf"))
    settings = settings.with_recent(Path("m7.gguf"))
    assert settings.recent_models[0] == Path("m7.gguf")
    assert len(settings.recent_models) == 8
    assert len(set(settings.recent_models)) == 8


def test_remote_servers_are_remembered_once_and_forgotten() -> None:
    settings = Settings().with_remote("a:1").with_remote("b:2").with_remote("a:1")
    assert settings.remote_endpoints == ["a:1", "b:2"]
    assert settings.without_remote("a:1").remote_endpoints == ["b:2"]
    assert settings.without_remote("c:3").remote_endpoints == ["a:1", "b:2"]


def test_a_server_written_in_another_way_is_the_same_one() -> None:
    by_hand = Settings(remote_endpoints=["LOCALHOST", "no address!"])
    assert by_hand.with_remote("127.0.0.1:50052") is by_hand
    assert by_hand.without_remote("127.0.0.1:50052").remote_endpoints == ["no address!"]
    assert by_hand.without_remote("no address!").remote_endpoints == ["LOCALHOST"]


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"telemetry": {"interval_s": 0.01}})

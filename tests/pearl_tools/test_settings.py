from __future__ import annotations

import msgspec
import pytest

from pearl_tools.errors import UsageError
from pearl_tools.settings import ExecutorSettings


def test_all_problems_are_reported_together() -> None:
    with pytest.raises(UsageError) as raised:
        ExecutorSettings(pad_share=2, min_side_px=0, zoom_long_side_px=5)
    message = str(raised.value)
    assert "pad_share: 0 to 1 (share of the box per side), got 2" in message
    assert "min_side_px: at least 1, got 0" in message
    assert "zoom_long_side_px: 16 to 4096, got 5" in message


def test_settings_survive_json_and_refuse_unknown_keys() -> None:
    settings = ExecutorSettings(pad_share=0.25)
    text = msgspec.json.encode(settings)
    assert msgspec.json.decode(text, type=ExecutorSettings) == settings
    with pytest.raises(msgspec.ValidationError, match="padding"):
        msgspec.json.decode(b'{"padding": 1}', type=ExecutorSettings)

"""Places where disks are at risk, told from their paths."""

from __future__ import annotations

import pytest

from service.placement import risk_of

ENVIRONMENT = {
    "OneDriveCommercial": "D:\\Work\\Cloud",
    "AppData": "C:\\Users\\Žofia\\AppData\\Roaming",
    "LOCALAPPDATA": "C:\\Users\\Žofia\\AppData\\Local",
}


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("C:\\Users\\Žofia\\AppData\\Local\\isthmus", ""),
        ("D:\\Work\\Cloud\\tiny", "OneDrive"),
        ("d:/work/cloud", "OneDrive"),
        ("D:\\Work\\Clouds\\tiny", ""),
        ("C:\\Users\\Žofia\\OneDrive\\Documents\\tiny", "OneDrive"),
        ("C:\\Users\\Žofia\\OneDrive - Contoso Ltd\\tiny", "OneDrive"),
        ("C:\\My OneDrive notes\\tiny", ""),
        ("C:\\Users\\Žofia\\AppData\\Roaming\\isthmus", "roaming"),
        ("C:\\Users\\Žofia\\AppData\\Local\\..\\Roaming\\isthmus", "roaming"),
        ("\\\\server\\home\\u", "another computer"),
        ("//server/home/u", "another computer"),
        ("\\\\?\\UNC\\server\\home\\u", "another computer"),
        ("\\\\?\\C:\\vm", ""),
        ("\\\\.\\C:\\vm", ""),
    ],
)
def test_a_place_is_told_by_its_path(path: str, word: str) -> None:
    risk = risk_of(path, ENVIRONMENT)
    assert word in risk
    assert bool(risk) == bool(word)


def test_nothing_is_known_without_an_environment() -> None:
    assert risk_of("C:\\x", {}) == ""

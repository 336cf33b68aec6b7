"""OpenPGP clear signatures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pysequoia
import pytest

from tests.unit.image.fake_archive import SigningKey
from vm.image.errors import SignatureInvalid
from vm.image.signature import KEYRING, verify_clear_signed

TEXT = "Suite: stable\n- a line that needs escaping\n"


def test_the_signed_text_comes_back(key: SigningKey) -> None:
    signed = key.clear_sign(TEXT)
    assert verify_clear_signed(signed, "url", key.keyring).decode().splitlines() == (
        TEXT.splitlines()
    )


def test_text_outside_of_the_signature_is_not_taken(key: SigningKey) -> None:
    signed = key.clear_sign(TEXT) + b"Suite: evil\n"
    assert b"evil" not in verify_clear_signed(signed, "url", key.keyring)
    with pytest.raises(SignatureInvalid):
        verify_clear_signed(b"Suite: evil\n" + signed, "url", key.keyring)


def test_one_of_several_keys_is_enough(
    key: SigningKey, make_key: Callable[[str], SigningKey], tmp_path: Path
) -> None:
    ring = tmp_path / "ring.pgp"
    ring.write_bytes(make_key("other").keyring.read_bytes() + key.keyring.read_bytes())
    assert verify_clear_signed(key.clear_sign(TEXT), "url", ring)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda signed: signed.replace(b"stable", b"sta8le"),
        lambda signed: signed.replace(b"-----END PGP", b"-----"),
        lambda signed: signed[: len(signed) // 2],
        lambda signed: b"",
        lambda signed: TEXT.encode(),
        lambda signed: b"-----BEGIN PGP SIGNED MESSAGE-----\n\n" + TEXT.encode(),
        lambda signed: signed[: signed.index(b"-----BEGIN PGP SIGNATURE")],
        lambda signed: b"\xff" * 4096,
    ],
)
def test_a_tampered_message_is_refused(key: SigningKey, tamper: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SignatureInvalid) as caught:
        verify_clear_signed(tamper(key.clear_sign(TEXT)), "http://m/InRelease", key.keyring)
    assert caught.value.url == "http://m/InRelease"
    assert "\n" not in caught.value.reason  # no stack trace of the library


def test_a_good_signature_by_a_stranger_is_refused(
    key: SigningKey, make_key: Callable[[str], SigningKey]
) -> None:
    with pytest.raises(SignatureInvalid):
        verify_clear_signed(make_key("stranger").clear_sign(TEXT), "url", key.keyring)
    with pytest.raises(SignatureInvalid):
        verify_clear_signed(key.clear_sign(TEXT), "url")  # Debian's keys do not know it


def test_a_signature_of_another_form_is_refused(key: SigningKey) -> None:
    inline = pysequoia.sign(key.secret.signer(), TEXT.encode(), mode=pysequoia.SignatureMode.INLINE)
    with pytest.raises(SignatureInvalid):
        verify_clear_signed(bytes(inline), "url", key.keyring)


def test_the_shipped_keys_are_debians() -> None:
    fingerprints = {cert.fingerprint.upper() for cert in pysequoia.Cert.split_file(str(KEYRING))}
    # https://ftp-master.debian.org/keys.html
    assert fingerprints == {
        "04B54C3CDCA79751B16BC6B5225629DF75B188BD",
        "5E04A1E3223A19A20706E20F9904613D4CCE68C6",
        "41587F7DB8C774BCCF131416762F67A0B2C39DE4",
    }

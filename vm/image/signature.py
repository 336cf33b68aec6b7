"""OpenPGP clear signatures: bytes in, the signed text out, or SignatureInvalid."""

from __future__ import annotations

from pathlib import Path

from vm.image.errors import SignatureInvalid

KEYRING = Path(__file__).with_name("debian-archive-keyring.pgp")
"""Debian 13's archive keys (package debian-archive-keyring): the automatic signing key, the
security archive's, and the stable release key. Shipped, because Windows has no keyring of them."""


def verify_clear_signed(data: bytes, url: str, keyring: Path = KEYRING) -> bytes:
    """The text inside the clear signature of `data`, and nothing that stands outside of it.

    One good signature by a key of `keyring` (binary or armored certificates, one after another)
    is needed; signatures by other keys are ignored, as Debian signs with old keys too.
    Raises SignatureInvalid, naming `url`.
    """
    if not data.startswith(b"-----BEGIN PGP SIGNED MESSAGE-----"):
        raise SignatureInvalid(url, "it is not a clear-signed message")
    import pysequoia  # a compiled library of 8 MB that only updates and first builds need

    certificates = pysequoia.Cert.split_file(str(keyring))
    try:
        result = pysequoia.verify(data, store=lambda _key_ids: certificates)
    except Exception as error:  # pysequoia raises RuntimeError, and pyo3 whatever Rust panics with
        # The library appends a Rust stack trace to its message.
        reason = (str(error) or repr(error)).splitlines()[0]
        raise SignatureInvalid(url, reason) from None
    trusted = {certificate.fingerprint for certificate in certificates}
    if result.bytes is None or not any(
        signature.certificate in trusted for signature in result.valid_sigs
    ):
        raise SignatureInvalid(url, "no signature by a trusted key")
    return bytes(result.bytes)

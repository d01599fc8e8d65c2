"""An authority of certificates for tests, and servers behind TLS."""

import ssl
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOUR = timedelta(hours=1)


class Authority:
    """Signs certificates, written to ``folder``; its own is at ``ca``."""

    def __init__(self, folder, name="ca"):
        self.folder = Path(folder)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(self._key, self._subject, (), authority=True)
        self.ca = self.folder / f"{name}.pem"
        self.ca.write_bytes(_pem(self._certificate))

    def issue(self, file, *names, since=-HOUR, until=HOUR, password=None):
        """Return the files of a new certificate for ``names`` and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, file)])
        certificate = self._signed(key, subject, names, since=since, until=until)
        written = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        written[0].write_bytes(_pem(certificate))
        written[1].write_bytes(_private(key, password))
        return written

    def _signed(self, key, subject, names, *, authority=False, since=-HOUR, until=HOUR):
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateBuilder(self._subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if authority:
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                False,
            )
            usage |= {"key_cert_sign": True, "crl_sign": True, "encipher_only": False, "decipher_only": False}
            builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_name(n) for n in names]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def server_context(files, clients=None):
    """Return what a server of Python's own shows: the certificate in ``files``; with ``clients`` it wants theirs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    if clients:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _name(text):
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key, password):
    kind = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind)

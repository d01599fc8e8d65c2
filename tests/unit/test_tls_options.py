"""What TLS goes by: files that are checked before anything is sent, and read anew when they change."""

from pathlib import Path

import pytest
from authority import Authority

from kserve_warmup.errors import WarmupError
from kserve_warmup.tls_options import TlsOptions, current_tls, with_tls


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def problem(**options):
    with pytest.raises(WarmupError) as caught:
        TlsOptions(**options).check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(authority, tmp_path):
    cert, key = authority.issue("client")
    _, other = authority.issue("other")
    locked = authority.issue("locked", password=b"s3cret")
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    nowhere = Path("/nowhere/ca.pem")

    assert problem(cacert=nowhere) == f"cacert: cannot read {nowhere}: No such file or directory"
    assert "Is a directory" in problem(cacert=tmp_path)
    assert problem(cacert=key) == f"cacert: {key} holds no certificate in PEM"
    assert f"cacert: {junk} holds what is no certificate in PEM" in problem(cacert=junk)
    assert problem(cert=key) == f"cert: {key} holds no certificate in PEM"
    assert problem(cert=cert) == f"key: {cert} holds no private key in PEM"
    assert problem(cert=cert, key=other) == f"key: {other} is the key of another certificate than {cert}"
    assert f"{junk} and {key} are no certificate and key" in problem(cert=junk, key=key)
    assert "has a passphrase" in problem(cert=locked[0], key=locked[1])
    assert "goes with the client certificate" in problem(key=key)


@pytest.mark.parametrize("name", ["", "a.example:443", "https://a.example", "a..b", "a b", "a/b", "x" * 80])
def test_what_is_no_name_of_a_server_is_told(name):
    assert "is no name of a server" in problem(server_name=name)


@pytest.mark.parametrize("name", ["a.example", "A.example", "::1", "10.0.0.1", "localhost"])
def test_names_and_addresses_are_names_of_servers(name):
    TlsOptions(server_name=name).check()


def test_certificate_and_key_may_be_in_one_file(authority, tmp_path):
    cert, key = authority.issue("client")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())

    pem = TlsOptions(cert=both).pem()

    assert pem.chain == pem.key == both.read_bytes()


def test_files_are_read_again_when_they_have_changed_and_only_then(authority, tmp_path):
    options = TlsOptions(authority.ca)
    before = options.context()
    assert options.context() is before

    renewed = Authority(tmp_path, "renewed")
    renewed.ca.replace(authority.ca)

    assert options.context() is not before
    assert options.pem().roots.split() == authority.ca.read_bytes().split()


def test_the_system_s_authorities_count_only_where_none_are_named(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    assert len(TlsOptions().context().get_ca_certs()) == 1
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    assert TlsOptions().context().get_ca_certs() == []
    assert len(TlsOptions(authority.ca).context().get_ca_certs()) == 1


def test_the_name_asked_for_is_the_one_given_then_the_host_header_then_the_address():
    assert TlsOptions(server_name="c").name("a", "b:443") == "c"
    assert TlsOptions().name("a", "b:443") == "b"
    assert TlsOptions().name("fe80::1%eth0", None) == "fe80::1"


def test_another_server_is_shown_no_certificate():
    options = TlsOptions(Path("ca"), "name", Path("cert"), Path("key"))
    assert options.of_nobody == TlsOptions(Path("ca"))


def test_options_hold_in_their_block():
    options = TlsOptions(server_name="a")
    with with_tls(options):
        assert current_tls() is options
    assert current_tls() == TlsOptions()

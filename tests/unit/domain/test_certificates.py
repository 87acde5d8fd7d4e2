"""The commands by which a host gets a certificate."""

from mlflow_stack.domain.certificates import HostCertificate


def test_command_names_the_program_and_quotes_its_arguments() -> None:
    certificate = HostCertificate("/etc/x y", "/etc/ca.crt", ("a.example.com", "10.0.0.3"))

    assert certificate.command("ensure") == (
        "sh /opt/mlflow/libexec/certificate.sh ensure '/etc/x y' /etc/ca.crt a.example.com 10.0.0.3"
    )


def test_certificate_of_another_user_is_made_and_asked_for_as_that_user() -> None:
    certificate = HostCertificate("/etc/postgresql/mlflow", "/etc/postgresql/mlflow/ca.crt", ("db",), "postgres")

    assert certificate.command("check") == (
        "runuser -u postgres -- sh /opt/mlflow/libexec/certificate.sh check /etc/postgresql/mlflow "
        "/etc/postgresql/mlflow/ca.crt db"
    )
    assert certificate.is_impossible == (
        "[ ! -e /opt/mlflow/libexec/certificate.sh ] || ! id -u postgres > /dev/null 2>&1"
    )

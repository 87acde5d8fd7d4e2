"""accounts KEY USER: print the header by which MLflow knows USER. Passwords of MLflow's own accounts.

With permissions MLflow asks for a login of its own, which nobody types or stores. It is the proxy's login that people
have; whom that has let in is sent on with a password that follows from a key of the stack and the user's name: HMAC
with SHA-256, a pseudorandom function (RFC 5869). The same in mlflow_stack/domain/permissions.py.
"""

import base64
import hmac
import sys
from pathlib import Path

# It may do everything: it proves that the server works, and stands for nobody.
OWN_USER = "mlflow-stack"
# It may do nothing: the proxy's /health asks as it.
HEALTH_USER = "mlflow-health"
# No user's name has a space.
FLASK_KEY = "flask secret key"


def read_key(path: Path) -> bytes:
    return path.read_text().strip().encode()


def password_of(key: bytes, user: str) -> str:
    """Return the password of an account, 64 hexadecimal digits."""
    return hmac.digest(key, user.encode(), "sha256").hex()


def login_of(key: bytes, user: str) -> str:
    """Return what the header Authorization has to be."""
    return "Basic " + base64.b64encode(f"{user}:{password_of(key, user)}".encode()).decode()


def main() -> None:
    key, user = sys.argv[1:]
    print(f"Authorization: {login_of(read_key(Path(key)), user)}")


if __name__ == "__main__":
    main()

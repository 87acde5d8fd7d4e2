"""Where things are on a host: the table "On a host" of the design, as constants."""

OPT_DIR = "/opt/mlflow"
ENVS_DIR = f"{OPT_DIR}/envs"
CACHE_DIR = f"{OPT_DIR}/cache"
LIBEXEC_DIR = f"{OPT_DIR}/libexec"
SUPERVISOR = f"{LIBEXEC_DIR}/supervise.py"
CONFIG_DIR = "/etc/mlflow"
# The name that the inventory gives this machine.
HOST_FILE = f"{CONFIG_DIR}/host"
CREDENTIALS_DIR = f"{CONFIG_DIR}/credentials"
STATE_DIR = "/var/lib/mlflow"
MODELS_DIR = "/var/lib/mlflow-models"
STAMPS_DIR = "/var/lib/mlflow-stack"
BACKUP_DIR = "/var/backups/mlflow"
UNIT_DIR = "/etc/systemd/system"
RUN_DIR = "/run/mlflow"
# The tracking server's own (RuntimeDirectory=).
TRACKING_RUN_DIR = f"{RUN_DIR}-tracking"
TRACKING_SOCKET = f"{RUN_DIR}/tracking.sock"
LOGIN_SOCKET = f"{RUN_DIR}/proxy-login.sock"
PROXY_DIR = f"{CONFIG_DIR}/proxy"
# What clients of the proxy trust, and the keys to it.
PROXY_AUTHORITY = f"{PROXY_DIR}/ca.crt"
PROXY_TLS_DIR = f"{CREDENTIALS_DIR}/proxy"
# Of ACME: the keys of our accounts, what the proxy shows and certbot says (a unit makes it), and whom certbot trusts.
ACME_ACCOUNTS_DIR = f"{CREDENTIALS_DIR}/acme"
ACME_STATE_DIR = "/var/lib/mlflow-acme"
ACME_CHALLENGES = f"{ACME_STATE_DIR}/challenges"
ACME_CA_FILE = f"{PROXY_DIR}/acme-ca.crt"
# The same of a database's server, whose user can't go into ours; and, on tracking hosts, what that is known by.
DATABASE_TLS_DIR = "/etc/postgresql/mlflow"
DATABASE_AUTHORITY = f"{DATABASE_TLS_DIR}/ca.crt"
DATABASE_CA_FILE = f"{CONFIG_DIR}/database-ca.crt"

TRACKING_USER = "mlflow"
PRODUCTION_USER = "mlflow-model"
PROXY_USER = "mlflow-proxy"

# Written into a directory as the last step of making it; without it the directory is unfinished and nobody uses it.
MARKER = ".mlflow-stack.json"


def model_socket(model: str) -> str:
    """Return the path of a model's Unix socket."""
    return f"{RUN_DIR}/production-{model}.sock"

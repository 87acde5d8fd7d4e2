"""Where things are on a host: the table "On a host" of the design, as constants."""

OPT_DIR = "/opt/mlflow"
ENVS_DIR = f"{OPT_DIR}/envs"
CACHE_DIR = f"{OPT_DIR}/cache"
LIBEXEC_DIR = f"{OPT_DIR}/libexec"
CONFIG_DIR = "/etc/mlflow"
# The name that the inventory gives this machine.
HOST_FILE = f"{CONFIG_DIR}/host"
CREDENTIALS_DIR = f"{CONFIG_DIR}/credentials"
STATE_DIR = "/var/lib/mlflow"
MODELS_DIR = "/var/lib/mlflow-models"
STAMPS_DIR = "/var/lib/mlflow-stack"
BACKUP_DIR = "/var/backups/mlflow"
UNIT_DIR = "/etc/systemd/system"

TRACKING_USER = "mlflow"
PRODUCTION_USER = "mlflow-model"

# Written into a directory as the last step of making it; without it the directory is unfinished and nobody uses it.
MARKER = ".mlflow-stack.json"

"""Small programs that are installed on hosts, below /opt/mlflow/libexec. Standard library only, but for schema.py."""

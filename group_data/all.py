"""Every setting of MLflow Stack, with its default: this file is the interface.

Change a value here for all hosts, in `group_data/<group>.py` for the hosts of one group, or beside a host in
`inventory.py` for that host alone. `docs/settings.md` is generated from this file (`make docs`).
A name is always ROLE_setting; a name that is not listed here is refused, with the nearest name that is.
"""

# --- inventory: which hosts belong together ----------------------------------------------------------------------

# Name of the stack that a host belongs to: one database, one tracking address, and what is served from it. Hosts find
# each other only within their stack. Set it for several independent stacks in one inventory, in group_data/<group>.py
# of a group for each, for example inventory_stack = "team_a" in group_data/team_a.py. Hosts that each have a database
# and a tracking server of their own are stacks of their own without it.
inventory_stack = ""

# --- preflight: what a host must have before anything on it is changed -------------------------------------------

# Free disk space in MiB that must be left below /opt and /var. An MLflow environment takes about 900 MiB, Miniconda
# 600 MiB, and a second environment stands beside the first during an upgrade. A fifth of it on a host that is
# deployed already.
preflight_min_free_disk_mib = 5000

# Physical memory in MiB. One tracking worker, one model and PostgreSQL use about 1100 MiB together.
preflight_min_memory_mib = 1800

# Name under which an earlier inventory deployed to this machine. Set it beside a host that you gave another name;
# without it a machine that was deployed under another name is refused: addresses may have been mixed up.
preflight_former_name = ""

# --- firewall: what other hosts may reach ------------------------------------------------------------------------

# True closes every TCP and UDP port to other hosts but SSH, what the roles of the host listen on beyond 127.0.0.1, and
# firewall_allow. Set it to False where another firewall does that: only what is ours is then removed.
firewall_enabled = True

# Ports of other services on the host that other hosts are to reach, or that a run is to close. A run is refused when it
# would close one that is in use and not listed. Each entry is one of
#
#   "9100/tcp"
#   "60000-61000/udp"
#   "9100/tcp from 10.0.0.0/24"  # reached from this network (CIDR, IPv4 or IPv6) alone
#   "111/tcp from 127.0.0.1"     # from this host alone: close it
firewall_allow = []

# --- conda: Miniconda and the Python environments ----------------------------------------------------------------

# Directory of the Miniconda installation. It must not exist, or have been made by MLflow Stack.
conda_prefix = "/opt/mlflow/miniconda3"

# Version of the installer, as in its file name: Miniconda3-<version>-Linux-<architecture>.sh. Never "latest", which
# moves and can have no checksum. A change is installed over the old one with the installer's own update option.
conda_installer_version = "py312_26.5.3-1"

# Where the installer is fetched from; {version} and {arch} are filled in. Change it for a mirror, or for Miniforge.
conda_installer_url = "https://repo.anaconda.com/miniconda/Miniconda3-{version}-Linux-{arch}.sh"

# SHA-256 of the installer for each architecture (`uname -m`). Checked before the file is run; must be changed with
# conda_installer_version.
conda_installer_sha256 = {
    "x86_64": "ecb43ee4ae30a7a5af87737e9548ceb21f0a10ec55b8dc40d247aa925b80bfec",
    "aarch64": "9e48caecbad9cc43d8a483584f0a5e1da2754189416a8811aaada3f58aceeb67",
}

# Channels that packages come from, best first. Anaconda's own ("defaults") need conda_accept_anaconda_tos.
conda_channels = ["conda-forge"]

# Server of the channels that are given by name only. Change it for a mirror of conda-forge.
conda_channel_alias = "https://conda.anaconda.org"

# True says that you have read Anaconda's Terms of Service and may use its channels (organisations of 200 people or
# more need a paid licence). Without it conda is told to refuse those channels; it is never accepted silently.
conda_accept_anaconda_tos = False

# Python version of the MLflow environment; locks/ holds a lock file for each that can be chosen.
conda_python = "3.12"

# Program that installs the locked packages: "uv" (about ten times faster) or "pip". The result is the same.
conda_package_installer = "uv"

# Package index to install from. Empty: the host's own configuration (/etc/pip.conf, /etc/uv/uv.toml), else PyPI.
conda_package_index_url = ""

# How many environments that nothing uses any more are kept, newest first, for a rollback.
conda_keep_envs = 2

# --- postgresql: the database server -----------------------------------------------------------------------------

# Database of the tracking server. Created when missing, never dropped.
postgresql_database = "mlflow_db"

# Role that owns the database: no superuser, may create neither databases nor roles.
postgresql_role = "mlflow_user"

# Role that may read the database and change nothing, for dumps and reports. It has no password: on the database's host
# root and the user postgres are it, through the Unix socket. Another name leaves the former role there.
postgresql_dump_role = "mlflow_dump"

# TCP port of the server.
postgresql_port = 5432

# Share of the host's memory given to PostgreSQL's shared_buffers. 0.125 suits a host that MLflow shares; 0.25 a host
# of PostgreSQL's own.
postgresql_memory_share = 0.125

# Upper limit of connections. One tracking worker holds 2 to 15.
postgresql_max_connections = 100

# Address of this server that tracking servers on other hosts use. Empty: the host's address in the inventory.
# These hosts take port, names and password from here too: they need no setting of their own.
postgresql_address = ""

# Networks (CIDR) that tracking servers on other hosts connect from, for example ["10.0.0.0/24"]. They need TLS and
# the password below. Empty: the addresses of these hosts in the inventory, where they are addresses and not names;
# with no such host PostgreSQL listens on its own host alone.
postgresql_client_networks = []

# Password of the role, needed only where a tracking server is on another host (on one host nobody has a password: the
# Unix socket knows the user). A reference, never the password itself: "generated" makes one for each stack below
# .secrets/ beside this repository and keeps it; "env:NAME", "file:PATH" and "cmd:COMMAND" read it where pyinfra runs.
postgresql_password = "generated"

# --- tracking: the MLflow tracking server ------------------------------------------------------------------------

# Where the server listens. "unix" is no port at all but the socket /run/mlflow/tracking.sock, which the proxy and root
# alone can use. "127.0.0.1" is this host alone. MLflow has no login of its own, so any other address needs
# tracking_open_to_everybody and belongs into a private network. Empty: "unix" behind a proxy (group
# "proxy"; with tracking_job_execution "127.0.0.1", since the jobs ask over TCP), "127.0.0.1" without one.
tracking_bind = ""

# True says that whoever reaches the tracking server's port may read, change and delete everything in it, without a
# login. Needed for a tracking_bind that other hosts reach.
tracking_open_to_everybody = False

# TCP port of the server.
tracking_port = 5000

# Host name (or address) that users type to reach the server, through its proxy if it has one. Requests that name any
# other host are refused (DNS rebinding), and so are browsers' requests from other sites. Several tracking servers of
# one stack need it: the name of their load balancer. Empty: tracking_bind, or this host's address in the inventory when
# the server listens on all addresses or has a proxy.
tracking_public_name = ""

# Worker processes. 1 takes 480 MiB, 4 take 1230 MiB. More than one worker over TCP adds about 43 ms to each request
# of a client that keeps its connection (uvicorn issue 3149), so raise it only for many slow searches.
tracking_workers = 1

# Server-side jobs (GenAI scorers, prompt optimisation, trace archival). True starts 8 more processes, 1.5 GiB.
tracking_job_execution = False

# True lets the server connect to other hosts by itself, as its AI gateway does. It may in any case where it has to: to
# a database on another host, or with tracking_job_execution.
tracking_network = False

# Database that MLflow Stack does not manage: postgresql+psycopg2://USER@HOST:PORT/DATABASE for PostgreSQL 12 or newer,
# mysql+pymysql://USER@HOST:PORT/DATABASE for MySQL 8.0.16, MariaDB 10.5 or newer. On another host it has to have TLS,
# unless ?sslmode=disable, or ?ssl_disabled=true, says that it may do without. Each run looks at it before it changes
# anything. Empty: that of the host of the group "postgresql".
tracking_database_uri = ""

# Password for tracking_database_uri, as a reference: "env:NAME", "file:PATH" or "cmd:COMMAND", read where pyinfra
# runs. Empty: that database asks for none.
tracking_database_password = ""

# File, where pyinfra runs, with the authorities (PEM) that the certificate of tracking_database_uri's server has to be
# from, as providers offer it. With it the server is looked at, its name too (sslmode=verify-full); without it the
# connection is encrypted, with whoever answers. The authority of its own stack's database a tracking host trusts by
# itself.
tracking_database_ca_file = ""

# True lets a run put a newer MLflow on a database of an older one. That changes the database one-way; the run dumps
# it below /var/backups/mlflow before. False: such a run is refused and the old server goes on. MySQL takes nothing back
# of an upgrade that fails: then the server stays down until the dump is restored.
tracking_upgrade_database = False

# True lets each user of the proxy (proxy_users) see and change only what they have made themselves, and what is granted
# to them: here, or in MLflow by those who may manage the thing. False: every user may do everything.
tracking_permissions = False

# Users who may do everything, and give permissions in MLflow's UI. Each is in proxy_users.
tracking_admins = ["admin"]

# Experiments, and what users may do in each: "READ", "EDIT" (log runs), "MANAGE" (delete, and give others permissions),
# or "DENY", which wins over what others have granted. "*" is all experiments, and all users:
#
#   tracking_experiment_permissions = {
#       "fraud": {"ada": "EDIT", "bob": "READ"},
#       "*": {"*": "READ"},
#   }
#
# An experiment that is not there yet is left for a later run. What users grant each other stays as it is.
tracking_experiment_permissions = {}

# Registered models in the same way.
tracking_model_permissions = {}

# Seconds that a started server may take until it answers with a working database.
tracking_ready_timeout_s = 180

# --- tracking_artifacts: where the tracking server keeps artifacts ------------------------------------------------

# A directory of the host, or a prefix in an object store: "s3://BUCKET/PREFIX" (Amazon S3, and servers that speak the
# same), "gs://BUCKET/PREFIX" (Google Cloud Storage) or "wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PREFIX" (Azure
# Blob Storage). Clients reach artifacts through the server only, and need no rights of their own. A bucket has to be
# there, and is tried before the server is told of it. With one the server may connect to other hosts.
tracking_artifacts_destination = "/var/lib/mlflow/artifacts"

# True says that the directory is a network file system, mounted on all tracking hosts of the stack: several tracking
# servers need that, or an object store. Each run sees that something is mounted there, and the same on all of them, by
# a mark in the directory. The user mlflow must have the same uid on all of them; MLflow Stack never changes the owner
# of files in it.
tracking_artifacts_shared = False

# Address of the object store, for a server of your own that speaks S3, as "https://minio.example.com:9000", or an
# emulator of Google's. Empty: that of the provider. With http:// artifacts cross the network in the clear.
tracking_artifacts_endpoint = ""

# Region of the bucket, for S3, as "eu-central-1". A bucket in another one is refused. Empty: the client finds it.
tracking_artifacts_region = ""

# Who the server is to the object store: for S3 the id of an access key here, and its secret below. Empty, with
# tracking_artifacts_credentials: the identity that the provider has given the host (instance profile, service account,
# managed identity).
tracking_artifacts_access_key_id = ""

# What lets the server in, as a reference: "env:NAME", "file:PATH" or "cmd:COMMAND", read where pyinfra runs. For s3://
# it is the secret access key, for gs:// the key of a service account (the JSON file), for wasbs:// the key of the
# storage account or a connection string. To change it, change what is referred to: the next run tries it and takes it
# to the hosts.
tracking_artifacts_credentials = ""

# File, where pyinfra runs, with the authorities (PEM) that the certificate of tracking_artifacts_endpoint has to be
# from. Empty: those that came with the client.
tracking_artifacts_ca_file = ""

# The tracking_artifacts_destination of before, once you have copied everything in it to the present one. A run that
# would leave artifacts behind is refused without; nothing is ever removed there.
tracking_artifacts_moved_from = ""

# --- production: models served from the registry -----------------------------------------------------------------

# The models to serve. Each name is a unit mlflow-production@<name>:
#
#   production_models = {
#       "diabetes": {
#           "uri": "models:/diabetes@champion",  # required; or models:/NAME/VERSION, models:/m-ID, runs:/RUN_ID/NAME
#           "port": 5001,                        # required without a proxy; /invocations is below it
#           "workers": 1,                        # processes, 260 MiB each
#           "required": True,                    # False: a model or alias that is not there yet is skipped
#           "network": False,                    # True: the model may connect to other hosts when it predicts
#           "gpu": False,                        # True: it may use the host's devices
#           "users": {"shop": "generated"},      # behind a proxy: its own users; {}: those of proxy_users
#       },
#   }
#
# An alias is resolved when you deploy; a model that is no longer listed is stopped and its files are kept.
production_models = {}

# Where the models listen. Model servers have no login: see tracking_bind. Empty: "unix" behind a proxy, "127.0.0.1"
# without one.
production_bind = ""

# True says that whoever reaches a model's port may ask it, without a login. Needed for a production_bind that other
# hosts reach.
production_open_to_everybody = False

# Tracking server that models are downloaded from. Empty: the host of the group "tracking".
production_tracking_uri = ""

# Who logs in at production_tracking_uri. At the proxy of its own stack's tracking server a host logs in by itself, as
# "mlflow-production" with a password that is generated (.secrets/mlflow-production).
production_tracking_user = ""

# Its password, as a reference: "env:NAME", "file:PATH" or "cmd:COMMAND".
production_tracking_password = ""

# File, where pyinfra runs, with the authorities (PEM) that the certificate of production_tracking_uri has to be from.
# Empty: those that the host's system trusts. The authority of its own stack's proxy a host trusts by itself.
production_tracking_ca_file = ""

# Seconds that a started model may take until it answers a prediction.
production_ready_timeout_s = 180

# Downloaded versions of a model that are kept beside the one that is served, for a rollback.
production_keep_releases = 2

# --- proxy: TLS and a login in front of the tracking server and the models of the same host ----------------------

# Address the proxy listens on.
proxy_bind = "0.0.0.0"  # noqa: S104  # to be reached is what it is for

# TCP port of the proxy: the UI and the API at /, each model at /models/<name>/invocations.
proxy_port = 443

# TCP port on which browsers are told to use proxy_port; 0 for none. Not used with proxy_tls = "off".
proxy_http_port = 80

# Where the certificate comes from:
#
#   "self-signed"  from an authority of the host's own, renewed by itself. A run prints the authority's fingerprint;
#                  clients need its certificate, which anybody gets at http://<name>/ca.crt
#   "files"        from proxy_tls_certificate and proxy_tls_key
#   "acme"         from an ACME server such as Let's Encrypt, by certbot, renewed by itself; for tracking_public_name,
#                  which has to be a name that leads the server to port 80 of this host
#   "off"          no TLS: passwords and data are readable on the way. Only on proxy_bind = "127.0.0.1", for another
#                  program of the host that has TLS, or with proxy_clear_text
proxy_tls = "self-signed"

# File, where pyinfra runs, with the certificate in PEM and behind it those that lead to its authority.
proxy_tls_certificate = ""

# Its key, in PEM and without a passphrase, as a reference: "env:NAME", "file:PATH" or "cmd:COMMAND".
proxy_tls_key = ""

# Directory of the ACME server, as "https://ca.example.com/acme/acme/directory". Empty: Let's Encrypt.
proxy_acme_server = ""

# True says that you have read the terms of the ACME server's operator, where it has any, and agree to them. Needed for
# proxy_tls = "acme".
proxy_acme_accept_terms = False

# Mail address that the operator may write to. It is told when the host's account is made. Empty: none.
proxy_acme_email = ""

# File, where pyinfra runs, with the authorities (PEM) that the ACME server's own certificate has to be from. Empty:
# those that the host's system trusts.
proxy_acme_ca_file = ""

# True says that all browsers of your users trust the certificates of proxy_acme_server: needed for HSTS there.
proxy_acme_trusted = False

# True tells browsers to come with TLS alone for a year (HSTS). Sent only with a certificate that they trust: one from
# files, from Let's Encrypt, or with proxy_acme_trusted.
proxy_hsts = True

# True says that passwords and data may cross the network in the clear: needed for proxy_tls = "off" on an address that
# other hosts reach, as behind a load balancer that has TLS.
proxy_clear_text = False

# Users of the tracking server, and of the models that have none of their own: a name, and a reference to the password.
# "generated" makes one for each stack below .secrets/ beside this repository (.secrets/proxy_users.admin) and keeps it;
# "env:NAME", "file:PATH" and "cmd:COMMAND" read it where pyinfra runs. MLflow's client takes them from
# MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
proxy_users = {"admin": "generated"}

# Size in MiB of a request to a model at most. What goes to the tracking server may have any size.
proxy_max_request_mib = 16

# --- image: container images, for platforms that run those ---------------------------------------------------------

# Name of the tracking server's image, with its registry where it is to be pushed, and without a tag: that is made of
# MLflow's version and of what the image is built from.
image_name = "mlflow-tracking"

# Python version of the tracking server's image; locks/ holds a lock file for each that can be chosen.
image_python = "3.12"

# The image that others are built on: a Debian with Python and its venv. {python} is the version, image_python or what a
# model asks for. Add @sha256:… for one that never changes. Where no registry is reached, `python -m mlflow_stack image
# base` makes one of Debian's packages, with Debian's Python.
image_base = "docker.io/library/python:{python}-slim-bookworm"

# What the tracking server's image can use beside PostgreSQL and a mounted directory: "mysql" (MySQL and MariaDB), "s3"
# (S3 and what speaks the same), "gcs" (Google Cloud Storage), "azure" (Azure Blob Storage). All take 45 MB.
image_addons = ["mysql", "s3", "gcs", "azure"]

# Package index to install from while an image is built. Empty: PyPI.
image_package_index_url = ""

# File, where images are built, with the authorities (PEM) that the index's certificate has to be from. Empty: those
# that the base image and the installer trust.
image_package_ca_file = ""
# --- aws: MLflow on Amazon Web Services, by `python -m mlflow_stack aws` -------------------------------------------

# Name of the stack: its stacks of CloudFormation are NAME-network, NAME-data and so on, and its repository, database,
# load balancer and service are NAME. What a stack is called can't be changed; another name is another stack.
aws_name = "mlflow"

# The account that the stack belongs into: with the credentials of any other nothing is done. Required.
aws_account_id = ""

# The region, as "eu-central-1". Required.
aws_region = ""

# False makes the network, the data and the machines of aws_hosts, and no service on Fargate.
aws_service = True

# Tag of the tracking server's image in the repository NAME of the account's registry (ECR). Tags there can't be moved.
aws_image_tag = ""

# Certificate of AWS Certificate Manager for tracking_public_name, in the same region. Without it aws_clear_text is
# needed.
aws_certificate_arn = ""

# Zone of Route 53 that gets a record for tracking_public_name. Empty: you make the name lead to the load balancer.
aws_hosted_zone_id = ""

# True says that passwords and data may cross the network in the clear: needed without aws_certificate_arn.
aws_clear_text = False

# True makes the load balancer's addresses private: only the network and what is connected to it (VPN, peering) gets
# there, and `aws apply` has to be run from there to see it answer.
aws_internal = False

# Network (CIDR) that may reach the load balancer, and the proxies of aws_hosts. The default is everybody, who then
# meets TLS and a login (proxy_users).
aws_client_network = "0.0.0.0/0"

# Tasks that always run. Two or more outlive the loss of an availability zone.
aws_min_tasks = 1

# Tasks that run at most, when the processors are busy.
aws_max_tasks = 4

# Processor of a task: 1024 is one.
aws_task_cpu = 1024

# Memory of a task in MiB; what Fargate gives depends on aws_task_cpu.
aws_task_memory_mib = 2048

# Days for which the server's log is kept.
aws_log_days = 30

# Name of the bucket for artifacts, which the stack makes. Empty: NAME-ACCOUNT-REGION.
aws_bucket = ""

# Days for which an artifact that was deleted or overwritten can be brought back.
aws_bucket_keep_days = 90

# Kind of the database.
aws_database_engine = "postgresql"

# The version that it begins with, as "17.11" (PostgreSQL) or "8.4.9" (MySQL). Amazon raises the last part by itself, at
# night; leave the setting then as it is.
aws_database_version = "17.11"

# Size of its machine.
aws_database_class = "db.t4g.small"

# Its disk in GiB. It can grow and never shrink.
aws_database_storage_gib = 20

# True keeps a second database in another availability zone, which takes over by itself, at twice the price.
aws_database_multi_az = False

# Days that the database can be brought back to, second by second.
aws_database_backup_days = 7

# File, where commands are run, with the certificates of Amazon's database authorities in the region, as
# "certificates/eu-central-1-bundle.pem". With it the database has to prove that it is Amazon's; without it the way
# there is encrypted all the same. Amazon offers the file: docs/how-to/aws.md.
aws_database_ca_file = ""

# Addresses of the stack's own network. It must not overlap those that it is to be connected with.
aws_network = "10.42.0.0/16"

# A network (VPC) of yours, in place of an own one.
aws_vpc_id = ""

# Its subnets for the load balancer and for aws_hosts.
aws_public_subnet_ids = []

# Its subnets for the tasks, which have to lead to the registry and to S3 (by a NAT gateway or endpoints). Empty: the
# public ones, with a public address for each task that nobody but the load balancer may connect to.
aws_task_subnet_ids = []

# Its subnets for the database.
aws_database_subnet_ids = []

# Virtual machines for deploy.py, with the stack's database and bucket (docs/how-to/aws.md):
#
#   aws_hosts = {
#       "mlflow1": {
#           "type": "t3.medium",  # its size
#           "disk_gib": 20,       # its disk
#       },
#   }
aws_hosts = {}

# Image (AMI) of these machines: Debian's of the region. It is named, and never the newest, since another one replaces
# the machine.
aws_host_image = ""

# The user that the image lets in.
aws_host_user = "admin"

# Key pair of EC2 that logs in there.
aws_host_key = ""

# Network (CIDR) that may reach SSH there.
aws_ssh_network = ""

# --- gcp: a stack on Google Cloud, made by `python -m mlflow_stack gcp` (docs/how-to/gcp.md) -----------------------

# Id of the project. Set it, and what else differs from here, in group_data/gcp.py. The project must be there, with
# billing; its APIs are enabled when they are needed.
gcp_project = ""

# Region of everything, as "europe-west1". It can't be changed later: a bucket and a database do not move.
gcp_region = ""

# Name of the stack, and of all that is made for it. Several stacks may be in one project under different names.
gcp_name = "mlflow"

# True runs the tracking server on Cloud Run. False is for machines alone (gcp_machines); a service that is there stays.
gcp_cloud_run = True

# Image of the tracking server in the stack's registry, REGION-docker.pkg.dev/PROJECT/NAME, as
# "mlflow-tracking:3.17.2". Its digest is what runs, so that a tag that names another image is seen as a change.
gcp_image = ""

# Instances that are kept when nobody asks. 0 costs nothing then, and the first request waits for a start.
gcp_min_instances = 0

# Instances at most. Each may hold up to 15 connections to the database for each worker (tracking_workers).
gcp_max_instances = 3

# Processors of an instance: 1, 2, 4 or 8.
gcp_cpu = 1

# Memory of an instance in MiB. One worker takes 480 MiB, and files in /tmp are in memory too.
gcp_memory_mib = 2048

# True lets the whole world reach the server, which then asks for a login itself: the users are proxy_users. False: only
# whom IAM lets in reaches it at all (gcp_invokers), with a token of Google's in MLFLOW_TRACKING_TOKEN.
gcp_public = False

# Who may call the server beside the project's owners, for example ["group:data-science@example.com"].
gcp_invokers = []

# Name of the service account that the server runs as, without @ and what follows. Empty: <gcp_name>-tracking.
gcp_service_account = ""

# Bucket of the artifacts, without gs://. Empty: <gcp_project>-<gcp_name>.
gcp_bucket = ""

# Days that a deleted or overwritten artifact is kept for in the bucket. It is paid for meanwhile.
gcp_bucket_keep_days = 30

# Version of the Cloud SQL instance: POSTGRES_14 to POSTGRES_19 as far as Cloud SQL has them, MYSQL_8_0 or MYSQL_8_4.
gcp_database_version = "POSTGRES_17"

# Edition of Cloud SQL. "ENTERPRISE_PLUS" has other tiers and costs more.
gcp_database_edition = "ENTERPRISE"

# Tier of the instance: db-custom-PROCESSORS-MEMORY_IN_MIB, or "db-f1-micro" to try it (shared, no service level). A
# change restarts the database.
gcp_database_tier = "db-custom-1-3840"

# Size of its disk in GB. It grows by itself, and never shrinks.
gcp_database_disk_gb = 10

# True keeps a second instance in another zone, which takes over when the first fails. It doubles the price.
gcp_database_highly_available = False

# Virtual machines for deploy.py, with this database and bucket (docs/how-to/gcp.md):
#
#   gcp_machines = {
#       "mlflow1": {
#           "zone": "europe-west1-b",          # required, in gcp_region
#           "machine_type": "e2-standard-2",
#           "disk_gb": 30,
#       },
#   }
#
# One that is no longer listed is left as it is.
gcp_machines = {}

# Image of the machines, as PROJECT/FAMILY.
gcp_machine_image = "debian-cloud/debian-12"

# User that pyinfra logs in as. It is made by the image, with sudo.
gcp_machine_user = "deploy"

# File with the public key of that user, as "~/.ssh/id_ed25519.pub". Needed for gcp_machines.
gcp_machine_ssh_key = ""

# Networks (CIDR) that reach the machines by SSH, HTTP and HTTPS. Needed for gcp_machines.
gcp_machine_clients = []

# VPC network of the machines. It is connected with Google's, for the database's private address.
gcp_network = "default"

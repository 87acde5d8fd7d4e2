"""MLflow on your own Linux servers, as pyinfra playbooks, and in the cloud.

Layers, each of which imports only from those below it (tests/unit/test_layers.py):

    __main__.py         plan, apply, drift, conform, image, aws and gcp, for scripts and reviews
    aws/                MLflow on AWS, by CloudFormation (its __init__.py has the map)
    image/              container images (its __init__.py has the map)
    conform/            the promises, asked of a live stack (its __init__.py has the map)
    gcp/                a stack on Google Cloud (its __init__.py has the map)
    deploy.py           the story: which role goes on which host, in order
    review.py           what a run would do on every host, worked out, shown and compared before any is changed
    roles/              one @deploy per role: what ends up on a host
    cloud_settings.py   the settings of what has no hosts: images and clouds
    inventory_check.py  the settings of all hosts, checked before any is touched; the only reader of host.data
    proxy_check.py      who is let in: servers without a login, a proxy's names, certificate and users, permissions
    database_check.py   a database that somebody else manages, asked through the host that is to use it
    stacks.py           which hosts belong together, what each takes from the others, and what contradicts
    running.py          a run as such: how it names itself on the hosts, goes on when one fails, and ends
    inventory_errors.py what is wrong with an inventory that can't be read, or names no host
    report.py           what a failed run says last: a line for each host that failed
    tunnel.py           connections from here to what a host reaches
    session.py          one session with each host for the whole run: the lock, and whether the host is still there
    operations/         one resource each, idempotent: validate, read one fact, compare, yield commands
    look.py             the one look at a host, before anything is changed, that its operations decide by
    facts/              one fact reads one whole subsystem in one round trip, and is never wrong on a fresh host
    templates.py        the files of templates/, filled in
    settings.py         the settings of one host, and what follows from them
    store_settings.py   the settings of the artifact store, typed
    image_settings.py   the settings of container images, typed
    aws_settings.py     the settings of a stack on AWS, typed
    gcp_settings.py     the settings of a stack on Google Cloud, typed
    role_settings.py    the settings of each role, typed
    secret_store.py     references to secrets, resolved where pyinfra runs
    setting_types.py    what a single setting may be, and the words in which a bad one is refused
    domain/             pure functions: parse, compare, render commands, SQL and files
    platforms.py        the only place that knows distributions
    on_host/            small programs that are installed on hosts and in images; most need the standard library alone

One word per role everywhere:

    role         module                 group        settings       unit
    postgresql   roles/postgresql.py    postgresql   postgresql_*   postgresql (the distribution's)
    tracking     roles/tracking.py      tracking     tracking_*     mlflow-tracking
    production   roles/production.py    production   production_*   mlflow-production, mlflow-production@<model>
    proxy        roles/proxy.py         proxy        proxy_*        mlflow-proxy, mlflow-proxy-login

`preflight`, `base`, `firewall` (mlflow-firewall) and `conda` run on every host that has one of these roles.
"""

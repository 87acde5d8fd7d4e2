"""The stack on Google Cloud: Cloud Run or machines, Cloud SQL, a bucket, and the rights between them.

    command.py    plan, apply, destroy and outputs, and their exit status
    inventory.py  the machines, as hosts for deploy.py
    stack.py      the whole plan, in order, and the plan of the end (pure, as all below but the last two)
    service.py    the Cloud Run service, its migration, and who may call it
    machines.py   virtual machines, their network and firewall
    database.py   the Cloud SQL instance, its database and user
    secret.py     the password and the logins, in Secret Manager
    bucket.py     the bucket of the artifacts
    account.py    the service account and its rights
    project.py    the project's APIs, and the registry of images
    declared.py   the settings of a stack
    plan.py       steps, differences, and how they are shown
    survey.py     the one look at what there is
    gcloud.py     Google's own client

Every change is a command of gcloud that the plan shows: a reader can do it by hand. What is there is compared field by
field with what is declared, so a second apply does nothing. docs/adr/0018-gcloud.md says why it is done this way.
"""

"""MLflow on AWS, by CloudFormation: `python -m mlflow_stack aws`. The templates are templates/aws/.

command.py     plan, apply, destroy and outputs
destroy.py     the service goes and the data stay, unless it is said in words
deployment.py  the story: which stack comes when, and what happens between them
preflight.py   what is wrong, before anything is made: all of it, a sentence each
migration.py   the database's schema, by a task of its own before the service moves
answer.py      the service is steady, and its public address answers
hosts.py       the machines as an inventory for deploy.py
values.py      the values of each template's parameters
stacks.py      one stack: read, planned by a change set, changed by that very change set, removed
secret.py      passwords and logins, kept in Secrets Manager
api.py         Amazon's API, and its errors in words
"""

"""`python -m mlflow_stack conform`: the numbered promises, asked of a live stack (docs/promises.md).

    command.py   the command: waivers, questions, answers, report
    junit.py     what CI systems read of it
    report.py    what people read of it
    results.py   what came of each check on each host
    waivers.py   what is known not to hold, until when and why
    promises.py  the list: every promise with its checks, in the order of their numbers
    reached.py   checks of what users and strangers reach, asked from here over the network
    working.py   checks that what is promised to work does, on the host
    hidden.py    checks that nothing secret can be read by others
    confined.py  checks of what services, and who breaks into one, may do
    database.py  checks of PostgreSQL, and of a database that somebody else manages
    calling.py   HTTP, TLS and connections as somebody without any program of ours has them
    gather.py    what the hosts say, asked in one command each; ask.py is that for pyinfra
    checks.py    what a check is, which hosts it is for, and what it finds

A check reads; it changes nothing, and sends a password only where a user would, to a server that has proved who it is.
"""

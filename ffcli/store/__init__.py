"""Runs, kept: the database, its migrations, and the state files beside it.

    location.py    which file                     tables.py     the tables
    sqlite.py      connections and their errors   mapping.py    rows <-> records
    database.py    opening, connections           liveness.py   who trains, and is it still there
    migrate.py     the schema's upgrade           claims.py     one process trains a run: claim, record, finish
    states.py      weights and states as files    runs.py       looking up, listing, deleting
    maintenance.py check, backup, prune           outcomes.py   what `ff report` reads
    merge.py       taking in another database     export.py     runs and epochs as CSV and JSON
    traces.py      phases, hour by hour           benchmarks.py what `ff bench --save` keeps

No row and no connection leaves this package: what does is a record of `ffcli.records`.
"""

"""The database of runs, its migrations, and the state files beside it.

    location.py    where the file is               tables.py     the tables
    sqlite.py      connections and their errors    mapping.py    rows <-> records
    database.py    opening and transactions        liveness.py   which process trains a run, and is it alive
    migrate.py     upgrading the schema            claims.py     claim a run, record its epochs, end it
    states.py      weights and states as files     runs.py       look up, list and delete runs
    maintenance.py check, backup, prune            outcomes.py   the input of `ff report`
    merge.py       merge another database          export.py     runs and epochs as CSV and JSON
    traces.py      traced phases, hour by hour     benchmarks.py what `ff bench --save` stores

This is the only package that knows SQL. Rows and connections stay inside it; it returns the records of
`ffcli.records`.
"""

"""The database of runs, its migrations, and the state files beside it.

    location.py    where the file is               tables.py     the tables
    sqlite.py      connections and their errors    mapping.py    rows <-> records
    database.py    opening and transactions        liveness.py   which process trains a run, and is it alive
    migrate.py     upgrading the schema            claims.py     claim a run, record its epochs, end it
    folder.py      the folder of weights, states   runs.py       look up, list and delete runs
    states.py      weights and states as files     outcomes.py   the input of `ff report`
    maintenance.py check, backup, prune            export.py     runs and epochs as CSV and JSON
    merge.py       merge another database          traces.py     traced phases, hour by hour
    waiting.py     say what is waited for          benchmarks.py what `ff bench --save` stores

This is the only package that knows SQL. Rows and connections stay inside it; it returns the records of
`ffcli.records`.
"""

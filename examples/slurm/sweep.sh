#!/bin/bash
#SBATCH --array=1-16
#SBATCH --cpus-per-task=1
ff sweep --table 1 --table 2 --data full --workers 1 --quiet \
    --shard "$SLURM_ARRAY_TASK_ID/16" --db "shard-$SLURM_ARRAY_TASK_ID.db"

"""
The crash campaign: the real ``serve`` killed at random instants, until every text is accounted for.

    python -m tests.campaign --kills 200 --seed 1
    python -m tests.campaign --kills 200 --signal TERM --postgres
    python -m tests.campaign --kills 60 --nodes 4 --restarts --cuts --crowded --clocks
    python -m tests.campaign --kills 20 --nodes 2 --per-hour 150
"""

"""Fault injection: break tracepool on purpose, then check that no click was lost and no IP was used twice.

- `records.py`: the recorded history of a run; `uses.py`: the uses of IPs that the proxies saw; `checker.py` finds
  breaches of promises in both.
- `visitors.py`: sends clicks and records each answer.
- `scene.py`: the processes under test; `faulty.py`: a daemon with a fault built in.
- `crashes.py`, `outages.py`, `failover.py`, `disks.py`, `signals.py`, `wall_clock.py`: faults of the daemon,
  PostgreSQL, the disk and the clock.
- `edited.py`, `spellings.py`, `locks.py`, `schemas.py`, `announcements.py`: what operators and other roles do to rows.
- `links.py`, `pages.py`, `restored.py`: faults of their surroundings.
- `beside.py`: several daemons on one database; `nodes.py`: one of them killed or cut off; `paused.py`: paused or
  suspended; `moves.py`: IPs that move between them; `shared.py`: what they share fails; `clocks.py`: clocks set under
  them; `promoted.py`: a replica takes over; `read_only.py`: sessions turn read-only; `crowd.py`: many nodes, one of
  which flaps; `upgrades.py`: two versions side by side. `shift.py`: the file by which a clock is set.
- `visible.py`: the messages that the daemon must show during a fault; `use_of_ips.py`: waits until IPs are in use.
- `run.py`: runs a fault; `evidence.py`: gathers the history afterwards; `outcome.py`: prints what it led to.
- `mutants.py`: small breaches of the promises built into the daemon, which each fault must notice.

There are fewer IPs than the clicks ask for. A click may fall back for want of an IP, but only while no IP is idle. So
each IP is leased again as soon as it has rested, and a rest that is too short is a breach in every fault.
"""

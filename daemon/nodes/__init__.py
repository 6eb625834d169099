"""The nodes of one database, and which of them owns which IPs.

- membership.py, peers.py: who may lease until when, and who is lost (pure); member.py joins, renews and leaves
- owned.py: takes the IPs of nobody, and reads this node's rows; freeing.py frees those of lost nodes
- figures.py, cluster.py, waits.py: what the nodes tell each other, and its sums (pure)
- balance.py: who should own how many, and what to give away (pure); balancer.py does it
- kept_out.py: for commands that use IPs while no daemon runs
"""

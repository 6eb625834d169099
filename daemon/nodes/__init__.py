"""Which node may lease the IPs of a database. membership.py decides, member.py talks to PostgreSQL."""

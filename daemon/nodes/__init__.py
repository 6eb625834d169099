"""Which node may lease the IPs of a database: membership.py decides, member.py does the I/O."""

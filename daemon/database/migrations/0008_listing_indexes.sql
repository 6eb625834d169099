-- For the control face: one IP's traces, and the clicks of one offer or outcome, the newest first.
create index active_trace_requests_ip on active_trace_requests (ip_assigned, created_at);
create index hits_offer on hits (offer_name, created_at);

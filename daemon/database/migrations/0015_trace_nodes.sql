-- Which node traces: only the end of that node ends its traces, and a batch trace belongs to one node at a time.

alter table active_trace_requests add column node_id uuid;
comment on column active_trace_requests.node_id is
    'the node that traces; null: an earlier version''s trace, or a batch trace that no node has claimed yet';

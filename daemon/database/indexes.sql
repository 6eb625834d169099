-- Indexes of tables that may have hundreds of millions of rows: one node builds them in the background, while all nodes
-- serve clicks, see indexes.py. Each statement begins with "create index NAME on TABLE".

-- Clicks are found by their click id and by their visitor.
create index hits_click_id on hits (click_id) where click_id is not null;
create index hits_visitor on hits (visitor_address, created_at);

-- Batch traces that begin ahead of the others.
create index active_trace_requests_ahead on active_trace_requests (target_country, priority, created_at)
    where priority > 0 and starts_now and status in ('pending', 'processing');

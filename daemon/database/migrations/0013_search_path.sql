-- Functions find their tables whatever the search_path of the session that fires their trigger.
do $$
declare
    named regprocedure;
begin
    for named in
        select oid from pg_proc
        where pronamespace = (select oid from pg_namespace where nspname = current_schema()) and proname like 'tracepool\_%'
              and not coalesce(array_to_string(proconfig, ' ') like '%search_path=%', false)
    loop
        execute format('alter function %s set search_path from current', named);
    end loop;
end $$;

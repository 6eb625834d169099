-- What migrations need to know about a database before they change it. Named statements as in queries.sql; each names its
-- schema, because the search_path of a role may be anything.

-- name: database_facts
-- $1: the schema.
select current_setting('server_version_num')::int as version_number,
       current_setting('server_version') as version,
       current_setting('server_encoding') as encoding,
       pg_catalog.pg_is_in_recovery() as is_standby,
       current_setting('transaction_read_only') = 'on' as is_read_only,
       (select source from pg_catalog.pg_settings where name = 'default_transaction_read_only') as read_only_by,
       current_user::text as role,
       current_database()::text as database,
       pg_catalog.has_database_privilege(current_database(), 'CREATE') as may_create_schemas,
       pg_catalog.has_database_privilege(current_database(), 'TEMPORARY') as may_create_temporary,
       n.oid is not null as schema_exists,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false) as may_use,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false) as may_create,
       (select c.relnamespace::regnamespace::text from pg_catalog.pg_class c
        where c.oid = to_regclass('schema_migrations') and c.relnamespace is distinct from n.oid
          and exists (select from pg_catalog.pg_class i
                      where i.relnamespace = c.relnamespace and i.relname = 'ip_rotation_pool')) as elsewhere
from (select $1::name as name) given left join pg_catalog.pg_namespace n on n.nspname = given.name

-- name: relations
-- $1: the schema, $2: names. `lacks`: the rights that this role does not have.
select c.relname::text as name, c.relkind::text as kind, pg_catalog.pg_get_userbyid(c.relowner)::text as owner,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') as is_owned,
       array(select r from unnest(case when c.relkind = 'S' then array['USAGE']
                                       when c.relname = 'schema_migrations' then array['SELECT']
                                       else array['SELECT', 'INSERT', 'UPDATE', 'DELETE'] end) r
             where case c.relkind when 'S' then not pg_catalog.has_sequence_privilege(c.oid, r)
                        else not pg_catalog.has_table_privilege(c.oid, r) end) as lacks
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = any($2::text[]) and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
order by c.relname

-- name: relation_columns
-- $1: the schema, $2: names of relations.
select c.relname::text as relation, a.attname::text as name, a.atttypid::oid::bigint as type_id,
       pg_catalog.format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as is_required,
       a.attidentity <> '' or a.attgenerated <> '' as is_generated,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid) as "default"
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where n.nspname = $1 and c.relname = any($2::text[])
order by c.relname, a.attnum

-- name: assignable
-- Pairs of types whose values may be converted: by an assignment, and texts by their content. $1, $2: source and target,
-- in the same order.
select t.source, t.target
from unnest($1::bigint[], $2::bigint[]) t(source, target)
where t.source = t.target
   or exists (select from pg_catalog.pg_cast c where c.castsource = t.source and c.casttarget = t.target
                                                and c.castcontext in ('a', 'i'))
   or exists (select from pg_catalog.pg_type s where s.oid in (t.source, t.target) and s.typcategory = 'S')

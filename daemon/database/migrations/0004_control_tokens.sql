-- Who may use the control face. Of a token only its hash is here; a token that is revoked stays, so that one can see it.

create table control_tokens (
    id           uuid primary key default gen_random_uuid(),
    name         text not null check (name <> ''),
    role         text not null check (role in ('read', 'operator')),
    hash         bytea not null unique check (octet_length(hash) = 32),
    created_at   timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);
create unique index control_tokens_name on control_tokens (name) where revoked_at is null;

comment on column control_tokens.hash is 'SHA-256 of the token, which nobody keeps';
comment on column control_tokens.last_used_at is 'to about half a minute';

create function tracepool_announce_tokens() returns trigger language plpgsql as $$
begin
    perform pg_notify('tracepool_tokens', '');
    return null;
end $$;

-- Not when a token is merely used.
create trigger announce_tokens after insert or delete or truncate or update of name, role, hash, revoked_at
    on control_tokens for each statement execute function tracepool_announce_tokens();

# shellcheck shell=bash
# The role, its database, and whatever in it the role does not own.

# Relations in the database that the role does not own: 'kind|name|owner'.
foreign_relations() {
  sql "$database" <<SQL
select case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end, quote_ident(c.relname), r.rolname
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
where n.nspname = 'public' and c.relkind in ('r', 'p', 'v', 'S') and r.rolname <> '$role'
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i', 'e'))
order by 1, 2
SQL
}

# What the role may do.
check_role() {
  local right
  right=$(ask rights)
  case $right in
    '') problem "role $role is missing" ;;
    f) problem "role $role has privileges beyond LOGIN" ;;
  esac
}
make_role() {
  local present
  present=$(has_rows postgres "select 1 from pg_roles where rolname = '$role'")
  if [[ -z $present ]]; then
    say "creating role $role"
    sql postgres <<<"create role \"$role\""
  fi
  sql postgres <<<"alter role \"$role\" login nosuperuser nocreaterole nocreatedb"
}

owner_of_database() { ask owner; }

# check_database OWNER: that there is one, and that it is the role's with all that is in it.
check_database() {
  local relations kind name relation_owner
  if [[ -z $1 ]]; then
    problem "database $database is missing"
  elif [[ $1 != "$role" ]]; then
    problem "database $database belongs to $1, not to $role"
  else
    relations=$(foreign_relations)
    while IFS='|' read -r kind name relation_owner; do
      [[ -z $kind ]] || problem "$kind $name belongs to $relation_owner, not to $role"
    done <<<"$relations"
  fi
}
make_database() {
  local present relations kind name relation_owner
  present=$(database_exists "$database")
  if [[ -z $present ]]; then
    say "creating database $database"
    sql postgres <<<"create database \"$database\" owner \"$role\" encoding 'UTF8' locale 'C.UTF-8' template template0"
  else
    take_in_utf8
  fi
  sql postgres <<<"alter database \"$database\" owner to \"$role\"; revoke connect, temporary on database \"$database\" from public"
  relations=$(foreign_relations)
  while IFS='|' read -r kind name relation_owner; do
    [[ -n $kind ]] || continue
    say "giving $kind $name of $relation_owner to role $role"
    sql "$database" <<<"alter $kind public.$name owner to \"$role\""
  done <<<"$relations"
}

# PostgreSQL drops no role that owns, or may do, something elsewhere; that is known before anything is deleted.
require_droppable_role() {
  local elsewhere
  elsewhere=$(
    sql postgres <<SQL
select distinct coalesce('database ' || d.datname, 'the cluster')
from pg_shdepend s join pg_roles r on s.refclassid = 'pg_authid'::regclass and s.refobjid = r.oid
  left join pg_database d on d.oid = case when s.classid = 'pg_database'::regclass then s.objid else s.dbid end
where r.rolname = '$role' and d.datname is distinct from '$database' order by 1
SQL
  )
  [[ -z $elsewhere ]] ||
    fail "role $role owns or may use something in ${elsewhere//$'\n'/, }, so it cannot be deleted. Nothing was deleted. Give that to another role ('reassign owned by $role to …; drop owned by $role' there), or set data.deleteOnDestroy to false and run up; then destroy again"
}

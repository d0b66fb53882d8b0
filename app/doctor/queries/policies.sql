select policyname as name, schemaname as schema, tablename as table,
  permissive = 'PERMISSIVE' as is_permissive, roles::text[] as roles, lower(cmd) as command,
  qual as using, with_check
from pg_policies where schemaname = any (%(schemas)s)
order by 2, 3, 1

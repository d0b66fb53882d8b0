// The app's side: @supabase/supabase-js as its own code calls it, on command. A line in names the
// signed-in person (`as`) and what to do; the line out is what the library answered.
import { createInterface } from "node:readline";

const [library, url, key, realtimeUrl, compiled] = process.argv.slice(2);
const { createClient } = await import(library);
const realtime = realtimeUrl && (await import("./realtime_commands.mjs"));
// Standard output is for answers.
console.log = console.error;

const clients = new Map();
const storages = new Map();

function clientOf(name) {
  if (!clients.has(name)) clients.set(name, openClient(name));
  return clients.get(name);
}

function openClient(name) {
  // As on a phone, the session outlives the client.
  const session = storages.get(name) ?? new Map();
  storages.set(name, session);
  const storage = {
    getItem: (key) => session.get(key) ?? null,
    setItem: (key, value) => session.set(key, value),
    removeItem: (key) => session.delete(key),
  };
  return createClient(url, key, {
    auth: { persistSession: true, storage, autoRefreshToken: false },
    ...realtime?.optionsOf(name, realtimeUrl),
  });
}

const commands = {
  signUp: async (supabase, { email, password }) => {
    const { data, error } = await supabase.auth.signUp({ email, password });
    return { error, data: { id: data.user?.id, isSignedIn: Boolean(data.session) } };
  },
  signIn: async (supabase, { email, password }) => {
    const { data, error } = await supabase.auth.signInWithPassword({ email, password });
    return { error, data: { id: data.user?.id, token: data.session?.access_token } };
  },
  select: (supabase, { table, columns, filter, order }) => {
    const query = supabase.from(table).select(columns).match(filter);
    return order ? query.order(order, { ascending: false }).limit(50) : query;
  },
  insert: (supabase, { table, row }) => supabase.from(table).insert(row).select(),
  upsert: (supabase, { table, row, onConflict }) =>
    supabase.from(table).upsert(row, { onConflict }).select(),
  update: (supabase, { table, change, filter }) =>
    supabase.from(table).update(change).match(filter).select(),
  delete: (supabase, { table, filter }) => supabase.from(table).delete().match(filter).select(),
  rpc: (supabase, { function: name, parameters }) => supabase.rpc(name, parameters),
  reopen: async (_supabase, { as }) => ({ data: clients.delete(as) }),
  ...realtime?.makeRealtimeCommands(compiled),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line);
  let answer;
  try {
    const { data, error, status } = await commands[command](clientOf(rest.as), rest);
    const failure = error ? { code: error.code, message: error.message } : null;
    answer = { data: data ?? null, status: status ?? null, error: failure };
  } catch (error) {
    answer = { fault: String(error.stack) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
// Connections and timers of the library would keep the process.
process.exit();

// A PostgreSQL (PGlite) in this process, for tests that need SQL and a role of their choice, which
// PostgREST does not give: { sql, parameters } in, { rows } or { error: { code, message } } out;
// { script } for several statements.
import { createInterface } from "node:readline";

const { PGlite } = await import(process.argv[2]);
const database = new PGlite();

for await (const line of createInterface({ input: process.stdin })) {
  const { sql, parameters, script } = JSON.parse(line);
  let answer;
  try {
    if (script !== undefined) await database.exec(script);
    const rows = script === undefined ? (await database.query(sql, parameters)).rows : [];
    answer = { rows };
  } catch (error) {
    if (error.code === undefined) answer = { fault: String(error.stack) };
    else answer = { error: { code: error.code, message: error.message } };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await database.close();

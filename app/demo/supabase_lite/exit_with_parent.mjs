// Loaded with `node --import`. Standard input is a pipe whose other end only the parent holds: it
// ends when the parent ends, however that comes about, and then this process ends too and takes
// the directory it worked in with it.
import { rmSync } from "node:fs";

process.stdin.on("end", () => {
  const directory = process.env.LOCAL_SUPABASE_DIRECTORY;
  if (directory) rmSync(directory, { recursive: true, force: true });
  process.exit();
});
process.stdin.resume();
process.stdin.unref();

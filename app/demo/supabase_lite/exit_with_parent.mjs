// Loaded with `node --import`. Standard input is a pipe that only the parent holds open. When the
// parent ends, even by a kill, this process removes its working directory and ends too.
import { rmSync } from "node:fs";

process.stdin.on("end", () => {
  const directory = process.env.LOCAL_SUPABASE_DIRECTORY;
  if (directory) rmSync(directory, { recursive: true, force: true });
  process.exit();
});
process.stdin.resume();
process.stdin.unref();

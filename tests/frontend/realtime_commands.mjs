// Realtime as the app uses it: the example of docs/snippets/typescript, and channels of one's own.
// What arrives is logged for each person; `await` gives the log's next lines up to a wanted one.
import { createRequire } from "node:module";

const WAIT_MS = 20_000;
const logs = new Map();

function logOf(name) {
  if (!logs.has(name)) logs.set(name, { entries: [], read: 0, wake: () => {} });
  return logs.get(name);
}

function recorder(name) {
  return (entry) => {
    const log = logOf(name);
    log.entries.push(entry);
    log.wake();
  };
}

function matches(entry, wanted) {
  if (typeof wanted !== "object" || wanted === null) return entry === wanted;
  if (typeof entry !== "object" || entry === null) return false;
  return Object.entries(wanted).every(([key, value]) => matches(entry[key], value));
}

async function awaitEntry(name, wanted) {
  const log = logOf(name);
  const deadline = AbortSignal.timeout(WAIT_MS);
  for (let at = log.read; ; ) {
    for (; at < log.entries.length; at++) {
      if (matches(log.entries[at], wanted)) {
        const entries = log.entries.slice(log.read, at + 1);
        log.read = at + 1;
        return entries;
      }
    }
    await new Promise((resolve, reject) => {
      log.wake = resolve;
      deadline.onabort = () =>
        reject(new Error(`not logged: ${JSON.stringify([wanted, log.entries])}`));
    });
  }
}

const gates = new Map();

/** Options of a client: its Realtime is the tests' own, and the end of a read can be held. */
export function optionsOf(name, realtimeUrl) {
  const record = recorder(name);
  return {
    global: {
      fetch: async (input, init) => {
        const response = await fetch(input, init);
        const isRead = String(input).includes("/chat_messages?");
        if (gates.has(name) && isRead && (await response.clone().text()) === "[]") {
          record({ kind: "held" });
          await gates.get(name).promise;
        }
        return response;
      },
    },
    realtime: { transport: transportTo(realtimeUrl), reconnectAfterMs: () => 50 },
  };
}

function transportTo(realtimeUrl) {
  return class extends WebSocket {
    constructor(address, protocols) {
      super(realtimeUrl + new URL(address).search, protocols);
    }
  };
}

export function makeRealtimeCommands(compiled) {
  const require = createRequire(`${compiled}/`);
  const { TripUpdates } = require("./tripUpdates.js");
  const { diagnose, listen, signal } = require("./realtime.js");
  const updates = new Map();
  const channels = new Map();
  const screens = new Map();

  return {
    start: async (supabase, { as, userId }) => {
      const record = recorder(as);
      const each = new TripUpdates(
        supabase,
        userId,
        () => record({ kind: "trips" }),
        (status, reason) => record({ kind: "status", status, reason }),
      );
      updates.set(as, each);
      each.start();
      return {};
    },
    stop: async (_supabase, { as }) => {
      await updates.get(as).stop();
      return {};
    },
    follow: async (_supabase, { as, tripId }) => {
      const record = recorder(as);
      updates.get(as).follow(tripId, {
        onMessages: (messages) =>
          record({ kind: "messages", tripId, bodies: messages.map((each) => each.body) }),
        onUpdate: (update) => record({ kind: "update", tripId, ...update }),
        onRefetch: () => record({ kind: "refetch", tripId }),
        onRevoked: () => record({ kind: "revoked", tripId }),
      });
      return {};
    },
    refetch: async (_supabase, { as }) => {
      updates.get(as).refetch();
      return {};
    },
    hold: async (_supabase, { as }) => {
      gates.set(as, Promise.withResolvers());
      return {};
    },
    release: async (_supabase, { as }) => {
      gates.get(as).resolve();
      gates.delete(as);
      return {};
    },
    join: async (supabase, { as, topic, isPrivate }) => {
      const record = recorder(as);
      await supabase.realtime.setAuth();
      const channel = supabase.channel(topic, {
        config: { private: isPrivate, broadcast: { ack: true } },
      });
      channels.set(`${as} ${topic}`, channel);
      channel
        .on("broadcast", { event: "*" }, ({ event, payload }) =>
          record({ kind: "broadcast", topic, event, payload }),
        )
        .on("system", {}, ({ status, message }) =>
          record({ kind: "system", topic, status, message }),
        )
        .on("presence", { event: "sync" }, () =>
          record({ kind: "presence", topic, present: channel.presenceState() }),
        )
        .subscribe((status, error) =>
          record({ kind: "status", topic, status, reason: error?.message }),
        );
      return {};
    },
    send: async (_supabase, { as, topic, event, payload }) => {
      const channel = channels.get(`${as} ${topic}`);
      return { data: await channel.send({ type: "broadcast", event, payload }, { timeout: 1000 }) };
    },
    track: async (_supabase, { as, topic, payload }) => ({
      data: await channels.get(`${as} ${topic}`).track(payload, { timeout: 1000 }),
    }),
    renewToken: async (supabase) => {
      const { data } = await supabase.auth.getSession();
      for (;;) {
        // Two tokens of the same second are the same.
        const renewed = await supabase.auth.refreshSession();
        if (renewed.error) return { error: renewed.error };
        if (renewed.data.session.access_token !== data.session.access_token) return {};
      }
    },
    listen: async (supabase, { as, userId }) => {
      const record = recorder(as);
      listen(supabase, userId, (event, payload) => record({ kind: "heard", event, payload }));
      return {};
    },
    signal: async (supabase, { tripId }) => ({ error: await signal(supabase, tripId) }),
    diagnose: async (supabase, { tripId }) => {
      const lines = [];
      await diagnose(supabase, tripId, (...parts) => lines.push(parts));
      return { data: lines };
    },
    await: async (_supabase, { as, wanted }) => ({ data: await awaitEntry(as, wanted) }),
    openScreen: async (_supabase, { as, tripId }) => {
      const record = recorder(as);
      const { act, create } = require("react-test-renderer");
      const { createElement } = require("react");
      const { useTripUpdates } = require("./useTripUpdates.js");
      globalThis.IS_REACT_ACT_ENVIRONMENT = true;
      function Screen() {
        const { messages, isRevoked } = useTripUpdates(updates.get(as), tripId, {
          onUpdate: ({ event }) => record({ kind: "update", screen: tripId, event }),
          onRefetch: () => record({ kind: "refetch", screen: tripId }),
        });
        record({ kind: "screen", bodies: messages.map((each) => each.body), isRevoked });
        return null;
      }
      await act(async () => screens.set(as, create(createElement(Screen))));
      globalThis.IS_REACT_ACT_ENVIRONMENT = false;
      return {};
    },
    closeScreen: async (_supabase, { as }) => {
      const { act } = require("react-test-renderer");
      await act(async () => screens.get(as).unmount());
      return {};
    },
    foreground: async () => {
      require("react-native").AppState.change("active");
      return {};
    },
  };
}

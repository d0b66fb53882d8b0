// One private channel per signed-in user, `user:<user id>`. The database sends it the changes of
// the user's trips. Realtime delivers at most once: after each join, the table is read.
import type { RealtimeChannel, SupabaseClient } from "@supabase/supabase-js";
import { TripMessages, type Message } from "./tripMessages";

/** A change that is no message: a reaction, receipt, presence, location, member or signal. */
export interface TripUpdate {
  event: string;
  trip_id: string;
  row?: Record<string, unknown>;
  user_id?: string;
  payload?: Record<string, unknown>;
}

export interface TripListener {
  /** The messages to show, oldest first. */
  onMessages(messages: Message[]): void;
  onUpdate?(update: TripUpdate): void;
  /** Updates may have been missed: read again what else the screen shows. */
  onRefetch?(): void;
  /** The user has lost access: nothing of the trip may stay on the screen or in a cache. */
  onRevoked(): void;
}

interface OpenTrip {
  readonly id: string;
  readonly listener: TripListener;
  readonly messages: TripMessages;
}

interface Payload extends Omit<TripUpdate, "event"> {
  truncated?: true;
  trip_ids?: string[];
}

export class TripUpdates {
  private readonly open = new Set<OpenTrip>();
  private channel: RealtimeChannel | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private failedAt = 0;
  private isStopped = false;

  constructor(
    private readonly supabase: SupabaseClient,
    private readonly userId: string,
    /** The list of trips has changed: read it again. Also after a join. */
    private readonly onTrips: () => void = () => {},
    /** For a log. The reason is Realtime's. */
    private readonly onStatus: (status: string, reason?: string) => void = () => {},
  ) {}

  /** Join, once the user is signed in. */
  start(): void {
    void this.join();
  }

  /** Leave, before the user signs out. */
  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    this.open.clear();
    if (this.channel) await this.supabase.removeChannel(this.channel);
  }

  /** Follow a trip until the returned function is called. */
  follow(tripId: string, listener: TripListener): () => void {
    const trip = { id: tripId, listener, messages: new TripMessages(this.supabase, tripId) };
    this.open.add(trip);
    void this.refetchTrip(trip);
    return () => this.open.delete(trip);
  }

  /** Read everything again, for example when the app comes to the foreground. */
  refetch(tripIds?: string[]): void {
    for (const trip of this.open) {
      if (!tripIds || tripIds.includes(trip.id)) void this.refetchTrip(trip);
    }
  }

  private async join(): Promise<void> {
    // The join carries the token that the client has by then: without this, possibly none.
    await this.supabase.realtime.setAuth();
    if (this.isStopped) return;
    const channel = this.supabase
      .channel(`user:${this.userId}`, {
        // Realtime says when it receives from the database: until then, messages may pass it by.
        config: { private: true, broadcast: { replication_ready: true } },
      })
      .on("broadcast", { event: "*" }, (message) => this.receive(message.event, message["payload"]))
      .on("system", {}, ({ status, message }: { status: string; message: string }) => {
        this.onStatus(`system ${status}`, message);
        if (status === "ok") this.catchUp();
      });
    this.channel = channel;
    channel.subscribe((status, error) => {
      if (channel !== this.channel) return;
      this.onStatus(status, error?.message);
      if (status === "SUBSCRIBED") this.catchUp();
      // After a lost connection or a refusal the library joins again. After a "system" error
      // Realtime closes the channel, and the library gives it up.
      if (status === "CLOSED") {
        this.channel = undefined;
        this.recover();
      }
    });
  }

  private catchUp(): void {
    this.onTrips();
    this.refetch();
  }

  private receive(event: string, payload: Payload): void {
    if (event === "refetch") return this.refetch(payload.trip_ids);
    if (event.startsWith("access.")) this.onTrips();
    for (const trip of this.open) {
      if (trip.id !== payload.trip_id) continue;
      if (event === "access.revoked") this.revoke(trip);
      else if (payload.truncated) void this.refetchTrip(trip);
      else if (event.startsWith("message.")) {
        trip.messages.apply(event, payload.row as unknown as Message);
        trip.listener.onMessages(trip.messages.list());
      } else trip.listener.onUpdate?.({ event, ...payload });
    }
  }

  private async refetchTrip(trip: OpenTrip): Promise<void> {
    try {
      // Row Level Security hides rows without an error: an empty list does not tell a revocation.
      const member = await this.supabase.rpc("is_trip_member", { trip_id: trip.id });
      if (member.error) throw member.error;
      if (!member.data) return this.revoke(trip);
      if (!(await trip.messages.read()) || !this.open.has(trip)) return;
      trip.listener.onMessages(trip.messages.list());
      trip.listener.onRefetch?.();
    } catch {
      this.recover();
    }
  }

  private revoke(trip: OpenTrip): void {
    if (this.open.delete(trip)) trip.listener.onRevoked();
  }

  private recover(): void {
    if (this.isStopped || this.timer) return;
    // Not each success: of two trips, one may fail every time.
    if (Date.now() - this.failedAt > 60_000) this.failures = 0;
    this.failedAt = Date.now();
    const seconds = Math.min(30, 2 ** this.failures++) * (0.5 + Math.random() / 2);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.channel) this.refetch();
      else void this.join();
    }, seconds * 1000);
  }
}

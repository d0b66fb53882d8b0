// The messages of one trip: read from the table, and kept up to date by what Realtime delivers.
import type { SupabaseClient } from "@supabase/supabase-js";

export interface Message {
  id: string;
  trip_id: string;
  user_id: string;
  body: string;
  created_at: string;
}

const TABLE = "chat_messages";
const COLUMNS = "id, trip_id, user_id, body, created_at";
const PAGE = 100;

export class TripMessages {
  private rows = new Map<string, Message>();
  // Changes that arrive while the table is read; undefined between two reads.
  private arrived: [event: string, row: Message][] | undefined;

  constructor(
    private readonly supabase: SupabaseClient,
    private readonly tripId: string,
  ) {}

  /** The messages so far, oldest first. */
  list(): Message[] {
    return [...this.rows.values()].sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  }

  apply(event: string, row: Message): void {
    this.arrived?.push([event, row]);
    if (event === "message.deleted") this.rows.delete(row.id);
    else this.rows.set(row.id, row);
  }

  /**
   * Fill a gap: read again from the oldest message on, which shows edits and deletions too.
   * Returns false if a later call has taken over.
   */
  async read(): Promise<boolean> {
    const arrived: typeof this.arrived = (this.arrived = []);
    const oldest = this.list()[0];
    const rows: Message[] = [];
    let page = oldest ? await this.readFrom(oldest, "gte") : await this.readNewest();
    while (page.length > 0 && this.arrived === arrived) {
      rows.push(...page);
      page = await this.readFrom(page[page.length - 1]!, "gt");
    }
    if (this.arrived !== arrived) return false;
    this.arrived = undefined;
    this.rows = new Map(rows.map((row) => [row.id, row]));
    // They may be newer than the read. If one is older, the newer one is still to arrive.
    for (const [event, row] of arrived) this.apply(event, row);
    return true;
  }

  private async readNewest(): Promise<Message[]> {
    const { data, error } = await this.query()
      .order("created_at", { ascending: false })
      .order("id", { ascending: false })
      .limit(PAGE);
    if (error) throw error;
    return (data as Message[]).reverse();
  }

  private async readFrom(message: Message, operator: "gt" | "gte"): Promise<Message[]> {
    const at = `"${message.created_at}"`;
    const { data, error } = await this.query()
      .or(`created_at.gt.${at},and(created_at.eq.${at},id.${operator}.${message.id})`)
      .order("created_at")
      .order("id")
      .limit(PAGE);
    if (error) throw error;
    return data as Message[];
  }

  private query() {
    return this.supabase.from(TABLE).select(COLUMNS).eq("trip_id", this.tripId);
  }
}

function sortKey(message: Message): string {
  // Both sources write times in UTC, whose text sorts by time.
  return `${message.created_at} ${message.id}`;
}

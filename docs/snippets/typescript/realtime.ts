// The code of docs/guides/realtime.md and of "Personal topics" in docs/guides/supabase.md.
import type { Session, SupabaseClient } from "@supabase/supabase-js";
import { AppState } from "react-native";
import { TripUpdates } from "./tripUpdates";
import { useTripUpdates } from "./useTripUpdates";

type Log = (...parts: unknown[]) => void;

export function listen(
  supabase: SupabaseClient,
  userId: string,
  handle: (event: string, payload: unknown) => void,
): void {
  // region: topic
  supabase
    .channel(`user:${userId}`, { config: { private: true } })
    .on("broadcast", { event: "*" }, ({ event, payload }) => handle(event, payload))
    .subscribe((status, error) => console.log(status, error?.message));
  // endregion
}

export async function signal(supabase: SupabaseClient, tripId: string) {
  // region: signal
  const { error } = await supabase.rpc("send_trip_signal", {
    trip_id: tripId,
    event: "typing",
    payload: { is_typing: true },
  });
  // endregion
  return error;
}

export function open(supabase: SupabaseClient, session: Session, reloadTrips: () => void) {
  // region: session
  const updates = new TripUpdates(supabase, session.user.id, reloadTrips, console.log);
  updates.start();
  // Before signing out: await updates.stop();
  // endregion
  return updates;
}

export function useTrip(updates: TripUpdates, tripId: string, reloadReactions: () => void) {
  // region: screen
  const { messages, isRevoked } = useTripUpdates(updates, tripId, {
    onUpdate: ({ event, row }) => {
      if (event.startsWith("reaction.")) console.log(event, row);
    },
    onRefetch: reloadReactions,
  });
  // endregion
  return { messages, isRevoked };
}

export function renewInForeground(supabase: SupabaseClient): void {
  // region: foreground
  AppState.addEventListener("change", (state) => {
    if (state === "active") void supabase.auth.startAutoRefresh();
    else void supabase.auth.stopAutoRefresh();
  });
  // endregion
}

export async function diagnose(supabase: SupabaseClient, tripId: string, log: Log): Promise<void> {
  // region: diagnose
  const { data } = await supabase.auth.getSession();
  log("user", data.session?.user.id, "token until", data.session?.expires_at);
  const member = await supabase.rpc("is_trip_member", { trip_id: tripId });
  log("ACTIVE member", member.data, member.error?.message);
  const messages = await supabase.from("chat_messages").select("id").eq("trip_id", tripId).limit(1);
  log("messages", messages.status, messages.data?.length, messages.error?.message);
  // endregion
}

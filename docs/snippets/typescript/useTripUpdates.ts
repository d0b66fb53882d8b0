// A trip's messages on a screen of React Native. `updates` is the app's one TripUpdates.
import { useEffect, useRef, useState } from "react";
import { AppState } from "react-native";
import type { Message } from "./tripMessages";
import type { TripUpdate, TripUpdates } from "./tripUpdates";

export interface TripHandlers {
  /** Reactions, receipts, presence, locations, members and signals. */
  onUpdate?(update: TripUpdate): void;
  /** Read again what else the screen shows. */
  onRefetch?(): void;
}

export function useTripUpdates(updates: TripUpdates, tripId: string, handlers: TripHandlers = {}) {
  const [messages, setMessages] = useState<Message[]>([]);
  const [isRevoked, setRevoked] = useState(false);
  const latest = useRef(handlers);
  useEffect(() => {
    latest.current = handlers;
  });

  useEffect(() => {
    setMessages([]);
    setRevoked(false);
    const unfollow = updates.follow(tripId, {
      onMessages: setMessages,
      onUpdate: (update) => latest.current.onUpdate?.(update),
      onRefetch: () => latest.current.onRefetch?.(),
      onRevoked: () => {
        setMessages([]);
        setRevoked(true);
      },
    });
    // In the background the connection is suspended, and it may be a while until it is found dead.
    const subscription = AppState.addEventListener("change", (state) => {
      if (state === "active") updates.refetch([tripId]);
    });
    return () => {
      subscription.remove();
      unfollow();
    };
  }, [updates, tripId]);

  return { messages, isRevoked };
}

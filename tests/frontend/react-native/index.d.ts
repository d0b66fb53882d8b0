/** The part of React Native that the example uses, with its names and types. */
export type AppStateStatus = "active" | "background" | "inactive" | "unknown" | "extension";

export const AppState: {
  addEventListener(
    type: "change",
    listener: (state: AppStateStatus) => void,
  ): { remove(): void };
  /** For tests: the app comes to the foreground, for example. */
  change(state: AppStateStatus): void;
};

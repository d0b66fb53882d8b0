const listeners = new Set();

exports.AppState = {
  addEventListener(_type, listener) {
    listeners.add(listener);
    return { remove: () => listeners.delete(listener) };
  },
  change(state) {
    for (const listener of [...listeners]) listener(state);
  },
};

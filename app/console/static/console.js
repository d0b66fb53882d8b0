// Says whether the page is live, and leads to the log-in when the session has ended.
document.addEventListener("DOMContentLoaded", () => {
  const live = document.getElementById("live");
  const show = (text, isLive) => {
    live.textContent = text;
    live.classList.toggle("on", isLive);
  };
  document.body.addEventListener("htmx:sseOpen", () => show("Live", true));
  document.body.addEventListener("htmx:sseError", () => show("Not live; connecting again", false));
  document.body.addEventListener("htmx:sseClose", (event) => {
    if (event.detail.type === "message") location.reload();
  });
});

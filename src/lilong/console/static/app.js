// Keys on the tower: up and down move a floor, left and right a room. Pages work without any of this.
document.addEventListener("keydown", (event) => {
  const room = event.target.closest?.(".tower .room");
  if (!room) return;
  const tiers = [...document.querySelectorAll(".tower .tier")].filter((tier) => tier.querySelector(".room"));
  const tier = tiers.indexOf(room.closest(".tier"));
  const rooms = [...tiers[tier].querySelectorAll(".room")];
  const at = rooms.indexOf(room);
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  if (step[1]) return void rooms[(at + step[1] + rooms.length) % rooms.length].focus();
  const next = tiers[tier + step[0]];
  if (!next) return;
  const lit = next.querySelector(".room.lit");
  (lit || [...next.querySelectorAll(".room")][Math.min(at, next.querySelectorAll(".room").length - 1)]).focus();
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});
// Who types the name of a new branch wants the commit to go there.
document.addEventListener("input", (event) => {
  const choice = event.target.matches("#branch") && event.target.form?.querySelector("input[name=target][value=new-branch]");
  if (choice) choice.checked = true;
});

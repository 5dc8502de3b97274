// A slider beside a field for a limit: it moves over the values of the signal, evenly or, where these lie far apart, by their logarithm.
// The field alone does all of it as well.
for (const slider of document.querySelectorAll("input[type=range][data-for]")) {
  const field = document.getElementById(slider.dataset.for);
  const [low, high] = [Number(slider.dataset.low), Number(slider.dataset.high)];
  const bend = "log" in slider.dataset;
  const value = (share) => (bend ? Math.expm1(Math.log1p(low) + share * (Math.log1p(high) - Math.log1p(low))) : low + share * (high - low));
  const share = (at) => (bend ? (Math.log1p(at) - Math.log1p(low)) / (Math.log1p(high) - Math.log1p(low)) : (at - low) / (high - low));
  const rounded = (at) => (high - low > 50 ? Math.round(at) : Number(at.toPrecision(3)));
  const follow = () => {
    const at = Number(field.value);
    if (field.value.trim() && Number.isFinite(at)) slider.value = 1000 * Math.min(Math.max(share(Math.max(at, low)), 0), 1);
    slider.setAttribute("aria-valuetext", field.value);
  };
  slider.addEventListener("input", () => {
    field.value = String(rounded(value(slider.value / 1000)));
    slider.setAttribute("aria-valuetext", field.value);
  });
  field.addEventListener("input", follow);
  slider.closest("[data-slider]").hidden = false;
  follow();
}

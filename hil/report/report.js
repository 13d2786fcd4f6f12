"use strict";

const config = {
  displaylogo: false,
  responsive: true,
  showSendToCloud: false,
  modeBarButtonsToRemove: ["lasso2d", "select2d"],
};

function complain(text) {
  const place = document.getElementById("trouble");
  place.hidden = false;
  place.textContent = "Not every plot could be drawn: " + text;
}

window.addEventListener("error", (event) => complain(event.message));

function draw(box) {
  const figure = JSON.parse(box.querySelector("script").textContent);
  const live = box.querySelector(".live");
  Plotly.newPlot(live, figure.data, figure.layout, config).then(
    () => box.classList.add("drawn"),
    (error) => complain(error.message),
  );
}

const MARGIN_PX = 600;

const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(entry.target);
    }
  },
  { rootMargin: MARGIN_PX + "px 0px" },
);
for (const box of document.querySelectorAll(".figure")) {
  if (box.getBoundingClientRect().top < window.innerHeight + MARGIN_PX) draw(box);
  else watcher.observe(box);
}

function openAddressed() {
  const place = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (!place || place.tagName !== "DETAILS") return;
  place.open = true;
  place.scrollIntoView();
}
window.addEventListener("hashchange", openAddressed);
document.addEventListener("click", (event) => {
  if (event.target.closest("a[href^='#']")) setTimeout(openAddressed);
});
openAddressed();

let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((details) => (details.open = true));
});
window.addEventListener("afterprint", () => opened.forEach((details) => (details.open = false)));

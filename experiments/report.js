"use strict";

const styleOf = (style) => `style-${style}`;
const hiddenStyles = new Set();

// Values beside the pointer on every chart over iterations.
for (const chart of document.querySelectorAll("svg.chart[data-series]")) {
  const tip = chart.parentElement.querySelector(".tip");
  const cursor = chart.querySelector(".cursor");
  let series = null;
  const hide = () => {
    tip.hidden = true;
    cursor.setAttribute("visibility", "hidden");
  };
  chart.addEventListener("pointermove", (event) => {
    series ??= JSON.parse(chart.dataset.series);
    const box = chart.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
    const nearest = series
      .filter((one) => !hiddenStyles.has(one.style))
      .map((one) => ({
        label: one.label,
        point: one.points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a)),
      }));
    if (!nearest.length) return hide();
    const closest = nearest.reduce((a, b) => (Math.abs(b.point[0] - x) < Math.abs(a.point[0] - x) ? b : a));
    const shown = nearest.filter((one) => Math.abs(one.point[0] - closest.point[0]) < 4);
    tip.textContent = [`iteration ${closest.point[1]}`, ...shown.map((one) => `${one.point[2]}  ${one.label}`)].join("\n");
    tip.hidden = false;
    cursor.setAttribute("transform", `translate(${closest.point[0]})`);
    cursor.setAttribute("visibility", "visible");
    const left = (closest.point[0] / chart.viewBox.baseVal.width) * box.width;
    tip.style.left = `${Math.max(0, Math.min(left + 10, box.width - tip.offsetWidth))}px`;
  });
  chart.addEventListener("pointerleave", hide);
}

// Names of curves hide and show them.
for (const key of document.querySelectorAll(".keys button")) {
  key.setAttribute("aria-pressed", "true");
  key.addEventListener("click", () => {
    const style = key.dataset.style;
    const isShown = hiddenStyles.delete(style);
    if (!isShown) hiddenStyles.add(style);
    key.setAttribute("aria-pressed", String(isShown));
    const curves = document.querySelectorAll(`#curves .chart .${styleOf(style)}, #curves .end.${styleOf(style)}`);
    for (const curve of curves) curve.style.display = isShown ? "" : "none";
  });
}

// Buttons that choose which cards of their section are shown.
for (const chooser of document.querySelectorAll(".chooser")) {
  const cards = [...chooser.parentElement.querySelectorAll(".card")];
  const buttons = chooser.querySelectorAll("button");
  for (const button of buttons) {
    const wanted = button.dataset.show;
    const fits = (card) => wanted === "all" || card.dataset.tags.split(" ").includes(wanted);
    button.disabled = !cards.some(fits);
    button.addEventListener("click", () => {
      for (const card of cards) card.hidden = !fits(card);
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    });
  }
}

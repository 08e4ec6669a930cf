(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const chart of document.querySelectorAll("svg.chart")) {
    const data = JSON.parse(chart.dataset.hover);
    const cursors = [...chart.closest("section").querySelectorAll(".cursor")];
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      let k = data.x.findIndex((v) => v >= x);
      if (k < 0) k = data.x.length - 1;
      if (k > 0 && x - data.x[k - 1] < data.x[k] - x) k -= 1;
      for (const line of cursors) { line.setAttribute("x1", data.x[k]); line.setAttribute("x2", data.x[k]); }
      const rows = Object.entries(data.lines).map(([name, values]) => `${name}: ${values[k]}${data.unit}`);
      tip.textContent = [`${data.t[k].toFixed(2)} s, frame ${data.f[k]}`, ...rows].join("\n");
      tip.hidden = false;
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
    });
    chart.addEventListener("pointerleave", () => {
      tip.hidden = true;
      for (const line of cursors) { line.setAttribute("x1", -9); line.setAttribute("x2", -9); }
    });
  }
})();
